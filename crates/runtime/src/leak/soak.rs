//! Runs an engine over and over, and judges what it holds.

use std::time::{Duration, Instant};

use super::{LeakTest, ProcessSample, Verdict};
use crate::engine::{Engine, Request};
use crate::error::{Error, Result};
use crate::monitor::Counters;
use crate::session::{Session, SessionOptions};

/// How long, and how much of it differs.
#[derive(Debug, Clone)]
pub struct Soak {
    /// Inferences, each of one batch.
    pub iterations: u64,
    /// Ends it sooner.
    pub duration: Option<Duration>,
    /// What sessions are made for; batches go round from 1 to its batch where the engine takes them.
    pub request: Request,
    /// Inferences of a session until it is made anew.
    pub recreate: u64,
    /// Samples that are noted in all.
    pub samples: u64,
    /// Counts inferences, for a monitor.
    pub counters: Counters,
}

impl Default for Soak {
    fn default() -> Self {
        let counters = Counters::default();
        Self { iterations: 10_000, duration: None, request: Request::default(), recreate: 500, samples: 400, counters }
    }
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watched {
    /// Bytes in the ledger.
    Ledger,
    /// Bytes of the process in RAM.
    Resident,
    /// Bytes of the process's address space.
    Virtual,
    /// Open files of the process.
    OpenFiles,
    /// Threads of the process.
    Threads,
}

impl Watched {
    /// Everything, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Ledger, Self::Resident, Self::Virtual, Self::OpenFiles, Self::Threads];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Resident => "process, resident",
            Self::Virtual => "process, virtual",
            Self::OpenFiles => "open files",
            Self::Threads => "threads",
        }
    }

    /// Whether it is counted in bytes.
    #[must_use]
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::Ledger | Self::Resident | Self::Virtual)
    }
}

/// What became of one value.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Which.
    pub what: Watched,
    /// Its first and last sample.
    pub ends: (u64, u64),
    /// The judgement.
    pub verdict: Verdict,
}

/// What became of everything.
#[derive(Debug, Clone)]
pub struct Soaked {
    /// Inferences that were run.
    pub iterations: u64,
    /// Sessions that were made.
    pub sessions: u64,
    /// How long it took.
    pub took: Duration,
    /// One by one, as in [`Watched::ALL`].
    pub watches: Vec<Watch>,
}

impl Soaked {
    /// What leaks.
    pub fn leaks(&self) -> impl Iterator<Item = &Watch> {
        self.watches.iter().filter(|watch| watch.verdict.is_leak())
    }
}

impl Soak {
    /// Runs it. `prepare` fills the inputs of each new session, `tell` hears how many inferences are done and says whether to go on.
    ///
    /// # Errors
    /// What sessions are refused for, and what goes wrong in a run.
    pub fn run(
        &self,
        engine: &Engine,
        mut prepare: impl FnMut(&mut Session) -> Result<()>,
        mut tell: impl FnMut(u64) -> bool,
    ) -> Result<Soaked> {
        let start = Instant::now();
        let mut tests: [LeakTest; Watched::ALL.len()] = Default::default();
        let mut ends: Option<[(u64, u64); Watched::ALL.len()]> = None;
        let (mut done, mut sessions) = (0, 0);
        let mut session: Option<Session> = None;
        let between = (self.iterations / self.samples.max(1)).max(1);
        let over = |done: u64| done >= self.iterations || self.duration.is_some_and(|most| start.elapsed() >= most);
        while !over(done) {
            if done % self.recreate.max(1) == 0 {
                // The old one goes before the new one comes.
                drop(session.take());
            }
            let current = match &mut session {
                Some(session) => session,
                None => {
                    sessions += 1;
                    let options = SessionOptions::from(self.request.clone());
                    let fresh = session.insert(engine.session(options)?);
                    prepare(fresh)?;
                    fresh
                }
            };
            let most = self.request.batch.unwrap_or(1);
            let batch = done % most.max(1) + 1;
            // An engine of one batch refuses others, and keeps its own.
            let ran = if most > 1 && current.set_batch(batch).is_err() { most } else { batch };
            current.run()?;
            self.counters.ran(ran);
            done += 1;
            if done % between == 0 {
                let values = values(engine)?;
                tests.iter_mut().zip(values).for_each(|(test, value)| test.note(done, value));
                let ends = ends.get_or_insert(values.map(|value| (value, value)));
                ends.iter_mut().zip(values).for_each(|(ends, value)| ends.1 = value);
                if !tell(done) {
                    break;
                }
            }
        }
        let ends = ends.unwrap_or_default();
        let watches = Watched::ALL.into_iter().zip(&tests).zip(ends);
        let watches = watches.map(|((what, test), ends)| Watch { what, ends, verdict: test.verdict() });
        Ok(Soaked { iterations: done, sessions, took: start.elapsed(), watches: watches.collect() })
    }
}

fn values(engine: &Engine) -> Result<[u64; Watched::ALL.len()]> {
    let unread = |source| Error::Io { action: "read", path: "/proc/self".into(), source };
    let process = ProcessSample::read(None).map_err(unread)?;
    let open_files = process.open_files.ok_or_else(|| unread(std::io::ErrorKind::PermissionDenied.into()))?;
    let held = engine.ledger().held().total_bytes();
    Ok([held, process.resident_bytes, process.virtual_bytes, open_files, process.threads])
}
