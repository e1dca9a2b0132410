//! Where samples of a process come from, and all that came so far.

use anyhow::Result;
use std::time::{Duration, Instant};
use trtforge_builder::Progress;
use trtforge_runtime::Error;
use trtforge_runtime::monitor::{
    Mark, MeetingPlace, MonitorOptions, ProcessSource, Published, Recorder, Recording, Sample, Source, Values,
};

/// A process that is watched.
pub struct Feed {
    pid: u32,
    from: From,
    recorder: Recorder,
    /// Whether the last look saw a new sample.
    fresh: bool,
    /// Marks that came with it.
    fresh_marks: usize,
    rate: Option<f64>,
}

enum From {
    /// Its own words.
    Process { published: Published, sequence: u64 },
    /// The system's.
    System { source: ProcessSource, start: Instant },
}

impl Feed {
    /// A process by number: what it shows of itself, or else what the system tells.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32, place: &MeetingPlace, interval: Duration, progress: &dyn Progress) -> Result<Self> {
        match place.process(pid) {
            Ok(Some(published)) => return Self::published(published, interval),
            Err(error @ (Error::Shown { .. } | Error::Io { .. })) => {
                progress.note(&format!("{error}; the system is asked"))
            }
            // What it left behind is of a process that is gone; another may have its number.
            Ok(None) | Err(_) => {}
        }
        let source = ProcessSource::new(pid)?;
        source.unseen().iter().for_each(|what| progress.note(&format!("not seen: {what}")));
        let name = trtforge_runtime::process::name(pid).unwrap_or_default();
        Ok(Self::new(pid, From::System { source, start: Instant::now() }, &name, interval))
    }

    /// A process that shows itself.
    ///
    /// # Errors
    /// None: what cannot be read is told when it is looked at.
    pub fn published(published: Published, interval: Duration) -> Result<Self> {
        let (pid, title) = (published.pid(), published.title().to_owned());
        Ok(Self::new(pid, From::Process { published, sequence: 0 }, &title, interval))
    }

    fn new(pid: u32, from: From, title: &str, interval: Duration) -> Self {
        let recorder = Recorder::new(title, &MonitorOptions { interval, ..MonitorOptions::default() });
        Self { pid, from, recorder, fresh: false, fresh_marks: 0, rate: None }
    }

    /// Looks at the process; whether it goes on.
    ///
    /// # Errors
    /// It can no longer be read.
    pub fn look(&mut self) -> Result<bool> {
        let before = self.recorder.marks().len();
        self.fresh = false;
        let goes_on = match &mut self.from {
            From::Process { published, sequence } => {
                // Asked first, so that the last that is shown before the end is read.
                let goes_on = published.is_alive();
                let snapshot = published.snapshot()?;
                let known = self.recorder.marks().last().map_or(f64::NEG_INFINITY, |mark| mark.at_s);
                let new = snapshot.marks.iter().filter(|mark| mark.at_s > known);
                new.for_each(|mark| self.recorder.mark(mark.clone()));
                if snapshot.sequence > std::mem::replace(sequence, snapshot.sequence) {
                    let at = Duration::try_from_secs_f64(snapshot.at_s).unwrap_or_default();
                    self.take(Sample { at, values: snapshot.values });
                }
                goes_on
            }
            From::System { source, start } => {
                let (mut values, at) = (Values::default(), start.elapsed());
                match source.look(&mut values) {
                    Ok(()) => self.take(Sample { at, values }),
                    Err(Error::NoProcess { .. }) => return Ok(false),
                    Err(error) => return Err(error.into()),
                }
                true
            }
        };
        self.fresh_marks = self.recorder.marks().len().saturating_sub(before);
        Ok(goes_on)
    }

    fn take(&mut self, sample: Sample) {
        let before = self.recorder.latest().copied().map(trtforge_runtime::monitor::Bucket::from);
        let now = trtforge_runtime::monitor::Bucket::from(sample);
        self.rate = before.as_ref().and_then(|before| now.inferences_per_s(Some(before)));
        self.recorder.push(sample);
        self.fresh = true;
    }

    /// Number of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The newest sample, if the last look saw it first.
    pub fn fresh(&self) -> Option<&Sample> {
        self.recorder.latest().filter(|_| self.fresh)
    }

    /// Marks that the last look saw first.
    pub fn fresh_marks(&self) -> &[Mark] {
        let marks = self.recorder.marks();
        &marks[marks.len().saturating_sub(self.fresh_marks)..]
    }

    /// Inferences per second from the sample before the newest to the newest.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// All that came so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Ends it.
    pub fn finish(self) -> Recording {
        self.recorder.finish()
    }
}
