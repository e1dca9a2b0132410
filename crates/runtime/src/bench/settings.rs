//! What is measured, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::monitor::Counters;
use crate::shape::Shape;

/// What all measurements of a report have in common.
#[derive(Clone, Copy)]
pub struct Settings<'s> {
    /// How long to measure; longer where not even one run ends in that time.
    pub duration: Duration,
    /// The longest warm-up; zero is none.
    pub warm_up: Duration,
    /// Seed of made-up inputs and arrivals.
    pub seed: u64,
    /// Tells how many times the process has allocated so far, where somebody counts.
    pub allocations: Option<fn() -> u64>,
    /// Counts inferences for a monitor, warm-up included.
    pub counters: Option<&'s Counters>,
    /// Told what begins. It is not called while anything is measured.
    pub tell: &'s dyn Fn(Stage),
}

impl Default for Settings<'_> {
    /// 5 s, warm-up of at most 5 s, nobody counts and nobody is told.
    fn default() -> Self {
        let five = Duration::from_secs(5);
        Self { duration: five, warm_up: five, seed: 1, allocations: None, counters: None, tell: &|_| {} }
    }
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("duration", &self.duration)
            .field("warm_up", &self.warm_up)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What a measurement is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Run until throughput has settled.
    WarmUp,
    /// Measure.
    Measure,
}

/// A closed loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Closed {
    /// Inferences per run; without, what the engine fixes, or the largest of its profile, or 1.
    pub batch: Option<u64>,
    /// Runs under way at a time: slots of one session. On a GPU each has a stream; on the host they run one after another.
    pub streams: usize,
    /// Whether to ask for runs that are replayed from a CUDA graph.
    pub cuda_graph: bool,
    /// Whether inputs and outputs are copied to and fro, where they are not read in place.
    pub transfers: bool,
    /// Shapes of inputs; the first dimension is the batch where that is open.
    pub shapes: BTreeMap<String, Shape>,
    /// Most device memory of engine and session, in bytes.
    pub budget_bytes: Option<u64>,
}

impl Default for Closed {
    fn default() -> Self {
        let shapes = BTreeMap::new();
        Self { batch: None, streams: 1, cuda_graph: false, transfers: true, shapes, budget_bytes: None }
    }
}

/// An open loop.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// What each of the sessions behind the batcher is: `streams` sessions of one slot, and batches of up to `batch`.
    pub closed: Closed,
    /// Requests per second in the mean; each is one inference.
    pub per_second: f64,
    /// Longest that the first request of a batch waits for others.
    pub max_delay: Duration,
}
