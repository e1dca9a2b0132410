//! Where long work is: a bar on a terminal, one line per step otherwise.
//!
//! Everything here goes to stderr. A line written while a bar is drawn goes above it, so nothing tears.

use crate::args::verbosity::{ProgressStyle, VerbosityArgs};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use trtforge_builder::Progress;

const REDRAW: Duration = Duration::from_millis(100);
/// Without a terminal a long step still says this often that it is alive.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the steps of one command.
#[derive(Debug)]
pub struct Terminal {
    form: Form,
    verbose: bool,
    notes: bool,
    step: Mutex<Step>,
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
}

impl Terminal {
    /// The form that fits the flags and the terminal.
    pub fn new(verbosity: &VerbosityArgs) -> Self {
        let now = Instant::now();
        Self {
            form: form(verbosity),
            verbose: verbosity.verbose,
            notes: !verbosity.quiet,
            step: Mutex::new(Step { name: String::new(), last_line: now }),
            started: now,
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

impl Progress for Terminal {
    fn step(&self, name: &str) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        *step = Step { name: name.to_owned(), last_line: Instant::now() };
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
        match &self.form {
            Form::Bar(bar) => {
                if bar.length() != Some(total) {
                    bar.set_style(bar_style());
                    bar.set_length(total);
                }
                bar.set_position(done);
                bar.set_message(format!("{}: {what}", step.name));
            }
            Form::Plain if step.last_line.elapsed() >= PLAIN_INTERVAL => {
                step.last_line = Instant::now();
                self.line(&format!("{}: {done} of {total} {what}", step.name));
            }
            Form::Plain | Form::Silent => {}
        }
    }

    fn note(&self, text: &str) {
        if self.notes {
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
