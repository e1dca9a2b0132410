//! `trtforge watch`: memory and throughput of a running process, live.
//!
//! A process of trtforge shows its own ledger, marks and counters; of any other there is what the system tells.

mod feed;
mod lines;
mod screen;
mod view;

use crate::args::duration;
use crate::args::monitor::{RecordingFile, RecordingForm};
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::recording_files::RecordingFiles;
use crate::table::Table;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use clap::Args;
use feed::Feed;
use lines::Lines;
use screen::Screen;
use serde_json::json;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trtforge_builder::{Progress, format_bytes};
use trtforge_runtime::monitor::{MeetingPlace, Published, Quantity, Recording};

const AFTER_HELP: &str = "\
Without --pid the running processes of trtforge are listed, or the only one is watched. Its commands
bench, run and soak show what they hold to their user; of other processes there is what the system
tells. On a terminal q ends; otherwise each sample is a line of JSON.";

/// Watch memory and throughput of a running process
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct WatchArgs {
    /// Number of the process [default: the only one of trtforge]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Time from one look to the next
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_interval)]
    interval: Duration,
    /// End after this long, if the process has not ended before
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,
    /// Write all that was seen as comma-separated values
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    csv: Option<PathBuf>,
    /// Draw all that was seen
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    svg: Option<PathBuf>,
    /// Print a line of JSON for each sample, also on a terminal; a failure also ends in one on stderr
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let longer = |interval: &Duration| *interval >= Duration::from_millis(1);
    duration::parse(text).and_then(|it| Some(it).filter(longer).ok_or_else(|| "write at least 1ms".to_owned()))
}

/// Why watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process has ended.
    Process,
    /// The time that was asked for is over.
    Duration,
    /// The user wanted it.
    User,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "the process has ended",
            Self::Duration => "the time is over",
            Self::User => "stopped",
        }
    }
}

/// Where what is seen goes.
trait Display {
    /// Shows the newest sample and what came with it.
    fn show(&mut self, feed: &Feed) -> Result<()>;

    /// Waits until the next look; whether the user wants to end.
    fn wait(&mut self, until: Instant) -> Result<bool>;

    /// Shows how it ended.
    fn end(&mut self, recording: &Recording, end: End) -> Result<()>;
}

/// Finds the process, watches it to the end and tells what was seen.
pub fn run(args: &WatchArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let lines = args.json || !std::io::stdout().is_terminal();
    let terminal = Terminal::new(verbosity);
    let place = MeetingPlace::of_user()?;
    let feed = match args.pid {
        Some(pid) => Feed::of(pid, &place, args.interval, &terminal)?,
        None => match only_one(place.processes()?, lines)? {
            Some(published) => Feed::published(published, args.interval)?,
            None => return Ok(()),
        },
    };
    let wanted = [(&args.csv, RecordingForm::Csv), (&args.svg, RecordingForm::Svg)];
    let wanted = wanted.map(|(path, form)| path.as_ref().map(|path| RecordingFile { path: path.clone(), form }));
    let files = RecordingFiles::prepare(&wanted.into_iter().flatten().collect::<Vec<_>>(), None)?;
    let cancel = interrupt::install()?;
    terminal.finish();
    let (recording, shown) = match lines {
        true => watch(feed, args, &mut Lines::new(cancel)),
        false => watch(feed, args, &mut Screen::new(cancel)?),
    };
    files.write(&recording)?;
    shown?;
    recording.notes().iter().for_each(|note| terminal.note(note));
    Ok(())
}

/// The process, if there is one; several are listed.
fn only_one(mut found: Vec<Published>, lines: bool) -> Result<Option<Published>> {
    match found.len() {
        0 => bail!(
            Failure::missing("no process of trtforge that is yours shows itself")
                .hint("start `trtforge bench`, `run` or `soak`, or name any process with --pid")
        ),
        1 => return Ok(found.pop()),
        _ if lines => {
            let line =
                |it: &Published| json!({"kind": "process", "pid": it.pid(), "title": it.title()}).to_string() + "\n";
            standard_output::write(found.iter().map(line).collect::<String>())?;
        }
        _ => {
            let mut table = Table::new(&[">PID", "PROCESS"]);
            found.iter().for_each(|it| table.row([it.pid().to_string(), it.title().to_owned()]));
            standard_output::write(format!("{}\nwatch one with --pid\n", table.render()))?;
        }
    }
    Ok(None)
}

/// Looks until something ends it. What was seen is there even if it could not be shown.
fn watch(mut feed: Feed, args: &WatchArgs, display: &mut impl Display) -> (Recording, Result<()>) {
    let shown = follow(&mut feed, args, display);
    let recording = feed.finish();
    let shown = shown.and_then(|end| display.end(&recording, end));
    (recording, shown)
}

fn follow(feed: &mut Feed, args: &WatchArgs, display: &mut impl Display) -> Result<End> {
    let start = Instant::now();
    let mut due = start;
    loop {
        let goes_on = feed.look()?;
        display.show(feed)?;
        let until = args.duration.map(|duration| start + duration);
        if !goes_on {
            return Ok(End::Process);
        }
        due = (due + args.interval).max(Instant::now());
        if display.wait(until.map_or(due, |until| due.min(until)))? {
            return Ok(End::User);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(End::Duration);
        }
    }
}

/// What was seen, for people.
fn summary(recording: &Recording, end: End) -> String {
    let mut table = Table::new(&["SEEN", ">LAST", ">MOST"]);
    for quantity in recording.quantities() {
        let shown = |value: Option<u64>| value.map_or_else(String::new, |value| shown(quantity, value));
        let name = quantity.name().trim_end_matches("_bytes").replace('_', " ");
        table.row([name, shown(recording.last(quantity)), shown(recording.most(quantity))]);
    }
    let (samples, seconds) = (recording.samples(), recording.duration().as_secs_f64());
    format!("{}\n{}: {}, {samples} samples in {seconds:.1} s\n", table.render(), recording.title, end.name())
}

fn shown(quantity: Quantity, value: u64) -> String {
    if quantity.name().ends_with("_bytes") { format_bytes(value) } else { value.to_string() }
}
