//! Where long work is: a bar on a terminal, one line per step otherwise.
//!
//! Everything here goes to stderr. A line written while a bar is drawn goes above it, so nothing tears. A note is said once, however often it is given.

use crate::args::verbosity::{ProgressStyle, VerbosityArgs};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};
use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use trtforge_builder::Progress;

const REDRAW: Duration = Duration::from_millis(100);
/// Without a terminal a long step still says this often that it is alive.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// A rate over less time says nothing.
const LEAST_PACE_SECONDS: f64 = 0.5;

/// Shows the steps of one command.
#[derive(Debug)]
pub struct Terminal {
    form: Form,
    verbose: bool,
    notes: bool,
    step: Mutex<Step>,
    said: Mutex<HashSet<String>>,
    started: Instant,
}

#[derive(Debug)]
enum Form {
    Bar(ProgressBar),
    Plain,
    Silent,
}

#[derive(Debug)]
struct Step {
    name: String,
    last_line: Instant,
    /// When work in equal units was first heard of, and how much of it was done already.
    steady_since: Option<(Instant, u64)>,
}

impl Step {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), last_line: Instant::now(), steady_since: None }
    }

    /// Rate and time left, once both mean something.
    fn pace(&mut self, done: u64, total: u64) -> Option<String> {
        let (since, before) = *self.steady_since.get_or_insert((Instant::now(), done));
        pace(since.elapsed().as_secs_f64(), done.saturating_sub(before), total.saturating_sub(done))
    }
}

fn pace(seconds: f64, done: u64, left: u64) -> Option<String> {
    if done == 0 || seconds < LEAST_PACE_SECONDS {
        return None;
    }
    let rate = done as f64 / seconds;
    Some(format!("{rate:.1}/s, {} left", duration((left as f64 / rate).ceil() as u64)))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

impl Terminal {
    /// The form that fits the flags and the terminal.
    pub fn new(verbosity: &VerbosityArgs) -> Self {
        Self {
            form: form(verbosity),
            verbose: verbosity.verbose,
            notes: !verbosity.quiet,
            step: Mutex::new(Step::new("")),
            said: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Removes the bar, so that what follows starts on a clean line.
    pub fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| write_line(text)),
            Form::Plain | Form::Silent => write_line(text),
        }
    }

    fn line(&self, text: &str) {
        write_line(&format!("[{:6.1} s] {}", self.started.elapsed().as_secs_f64(), text.trim_end()));
    }
}

impl Terminal {
    fn show(&self, step: &mut Step, what: &str, done: u64, total: u64, pace: Option<String>) {
        let pace = pace.map_or_else(String::new, |pace| format!(", {pace}"));
        match &self.form {
            Form::Bar(bar) => {
                if bar.length() != Some(total) {
                    bar.set_style(bar_style());
                    bar.set_length(total);
                }
                bar.set_position(done);
                bar.set_message(format!("{}: {what}{pace}", step.name));
            }
            Form::Plain if step.last_line.elapsed() >= PLAIN_INTERVAL => {
                step.last_line = Instant::now();
                self.line(&format!("{}: {done} of {total} {what}{pace}", step.name));
            }
            Form::Plain | Form::Silent => {}
        }
    }
}

impl Progress for Terminal {
    fn step(&self, name: &str) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        *step = Step::new(name);
        match &self.form {
            Form::Bar(bar) => {
                bar.set_position(0);
                bar.set_length(0);
                bar.set_style(spinner_style());
                bar.set_message(name.to_owned());
            }
            Form::Plain => self.line(name),
            Form::Silent => {}
        }
    }

    fn advance(&self, what: &str, done: u64, total: u64) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(&mut step, what, done, total, None);
    }

    fn advance_steadily(&self, what: &str, done: u64, total: u64) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = step.pace(done, total);
        self.show(&mut step, what, done, total, pace);
    }

    fn note(&self, text: &str) {
        let first_time = self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        if self.notes && first_time {
            self.say(&format!("note: {text}"));
        }
    }

    fn applied(&self, pass: &str, change: &str) {
        if self.verbose {
            self.say(&format!("{pass}: {change}"));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.finish();
    }
}

fn form(verbosity: &VerbosityArgs) -> Form {
    match verbosity.progress {
        _ if verbosity.quiet => Form::Silent,
        ProgressStyle::None => Form::Silent,
        ProgressStyle::Plain => Form::Plain,
        ProgressStyle::Auto if !std::io::stderr().is_terminal() => Form::Plain,
        ProgressStyle::Auto | ProgressStyle::Bar => {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.enable_steady_tick(REDRAW);
            Form::Bar(bar.with_style(spinner_style()))
        }
    }
}

fn spinner_style() -> BarStyle {
    style("{spinner} {elapsed:>4} {wide_msg}")
}

fn bar_style() -> BarStyle {
    style("{spinner} {elapsed:>4} [{bar:24}] {percent:>3}% {wide_msg}")
}

fn style(template: &str) -> BarStyle {
    BarStyle::with_template(template).unwrap_or_else(|_| BarStyle::default_bar()).progress_chars("=> ")
}

/// A stderr that cannot be written to leaves nobody to tell.
fn write_line(text: &str) {
    let unwritten = writeln!(std::io::stderr().lock(), "{text}");
    drop(unwritten);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_this_run() {
        assert_eq!(pace(0.1, 5, 5), None);
        assert_eq!(pace(4.0, 0, 5), None);
        assert_eq!(pace(4.0, 10, 25).as_deref(), Some("2.5/s, 10 s left"));
        assert_eq!(pace(10.0, 1, 9).as_deref(), Some("0.1/s, 1 min 30 s left"));
        assert_eq!(pace(10.0, 1, 900).as_deref(), Some("0.1/s, 2 h 30 min left"));
    }
}
