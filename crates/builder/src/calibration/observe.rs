//! One streaming pass over the samples: every wanted tensor's histogram and every other value's range.
//!
//! Each worker runs one batch at a time in a session of its own with a single thread, so that a batch gives the same numbers whoever runs it; and what workers count
//! adds up exactly. Hence the result depends neither on the number of workers nor on the order of the samples. Values are counted inside the run
//! ([`trtforge_onnxruntime::Watcher`]), so memory is that of plain inference, once per worker, whatever the number of tensors and samples.
//!
//! Where the model's batch is larger than one and rows run out, the batch is filled up and the repeated rows are not counted in tensors whose first dimension is
//! the batch.

use super::Observation;
use super::collector::{Collector, Watch};
use crate::precision::{Ranges, watched_values};
use crate::samples::{Samples, UnreadableTally};
use crate::verify::faithful;
use crate::{CancelFlag, Error, Progress, Result};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use trtforge_graph::{Graph, Model};
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig, Watched};

/// Workers where no number is given and the machine has more processors: each takes the memory of an inference.
const MOST_WORKERS: usize = 16;

/// How often what was seen is handed to [`Pass::checkpoint`].
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// A streaming pass.
pub struct Pass<'a> {
    /// ONNX Runtime.
    pub runtime: &'a OnnxRuntime,
    /// The graph of `model`, with types.
    pub graph: &'a Graph,
    /// The model to run, in 32 bits.
    pub model: &'a Model,
    /// What to run it on.
    pub samples: &'a Samples,
    /// Tensors that get a histogram.
    pub tensors: &'a [String],
    /// Whether all other 32-bit values get a range.
    pub ranges: bool,
    /// Workers; 0 is one per processor, at most 16.
    pub threads: usize,
    /// Receives everything seen so far about every ten seconds.
    pub checkpoint: &'a (dyn Fn(&Observation) -> Result<()> + Sync),
    /// Told of each batch and each unreadable image.
    pub progress: &'a dyn Progress,
    /// Stops the pass between batches.
    pub cancel: &'a CancelFlag,
}

/// Runs all batches that `begun` has not seen and adds what they show. When `cancel` is set, the result has fewer batches than there are samples.
///
/// # Errors
/// [`Error::NonFiniteActivation`], [`Error::UnreadableImages`], those of ONNX Runtime, the samples and the checkpoint.
pub fn observe(pass: &Pass<'_>, begun: Observation) -> Result<Observation> {
    let queue: Vec<usize> = (0..pass.samples.len()).filter(|index| !begun.done.contains(index)).collect();
    let mut tally = pass.samples.tally();
    tally.add(begun.unreadable().cloned().collect(), pass.progress)?;
    let seen = begun.done.iter().map(|&index| pass.samples.rows_of(index)).sum();
    let total = Total { observation: begun, tally, seen, saved: Instant::now(), failure: None };
    let work = Work { pass, queue, next: AtomicUsize::new(0), stop: AtomicBool::new(false), total: Mutex::new(total) };
    let watches = pass.watches();
    if !work.queue.is_empty() && !watches.is_empty() {
        let sessions = pass.sessions(&watches, work.queue.len())?;
        std::thread::scope(|scope| {
            for session in sessions {
                scope.spawn(|| work.run(session));
            }
        });
    }
    let total = work.total.into_inner().unwrap_or_else(PoisonError::into_inner);
    match total.failure {
        Some((_, error)) => Err(error),
        None => Ok(total.observation),
    }
}

/// Runs `samples` through the model behind `graph` and notes the range of every 32-bit floating-point value that is not a constant.
///
/// # Errors
/// As [`observe`]; [`Error::Cancelled`].
pub fn observe_ranges(
    runtime: &OnnxRuntime,
    graph: &Graph,
    model: &Model,
    samples: &Samples,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Ranges> {
    let checkpoint = |_: &Observation| Ok(());
    let pass = Pass {
        runtime,
        graph,
        model,
        samples,
        tensors: &[],
        ranges: true,
        threads: 0,
        checkpoint: &checkpoint,
        progress,
        cancel,
    };
    let observation = observe(&pass, Observation::default())?;
    cancel.check()?;
    Ok(observation.ranges())
}

impl Pass<'_> {
    /// What to watch, in the order of computation.
    fn watches(&self) -> Arc<[Watch]> {
        let tensors: HashSet<&str> = self.tensors.iter().map(String::as_str).collect();
        let values = watched_values(self.graph).into_iter().map(|value| self.graph.value(value).name.clone());
        let watch = |name: String| Watch { histogram: tensors.contains(name.as_str()), name };
        values.map(watch).filter(|watch| watch.histogram || self.ranges).collect()
    }

    /// A session for each worker. With histograms its operators run on one thread; ranges alone may use what is left over.
    fn sessions(&self, watches: &Arc<[Watch]>, batches: usize) -> Result<Vec<Watched<Collector>>> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        let threads = if self.threads == 0 { available() } else { self.threads };
        let workers = threads.min(batches);
        let within = if self.tensors.is_empty() { threads / workers } else { 1 };
        let config = SessionConfig { threads: within, memory_arena: false, ..faithful(self.model) };
        let names: Vec<&str> = watches.iter().map(|watch| watch.name.as_str()).collect();
        let collectors = (0..workers).map(|_| Collector::new(Arc::clone(watches)));
        Ok(self.runtime.watch(self.model, &names, &config, collectors)?)
    }
}

/// What the workers share.
struct Work<'a> {
    pass: &'a Pass<'a>,
    /// Batches to run.
    queue: Vec<usize>,
    /// Place in the queue of the next one.
    next: AtomicUsize,
    /// Set when a worker fails.
    stop: AtomicBool,
    total: Mutex<Total>,
}

struct Total {
    observation: Observation,
    tally: UnreadableTally,
    /// Rows that are done, read or not.
    seen: usize,
    saved: Instant,
    /// The failure on the first batch of the queue that failed.
    failure: Option<(usize, Error)>,
}

impl Work<'_> {
    /// One worker.
    fn run(&self, mut session: Watched<Collector>) {
        let mut handed_over = Instant::now();
        while let Some(index) = self.next() {
            if let Err(error) = self.batch(&mut session, index) {
                return self.fail(index, error);
            }
            if handed_over.elapsed() >= CHECKPOINT_INTERVAL {
                handed_over = Instant::now();
                if let Err(error) = self.hand_over(&mut session) {
                    return self.fail(index, error);
                }
            }
        }
        session.watcher().hand_over(&mut self.total().observation);
    }

    fn next(&self) -> Option<usize> {
        if self.stop.load(Ordering::Relaxed) || self.pass.cancel.is_cancelled() {
            return None;
        }
        self.queue.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn total(&self) -> MutexGuard<'_, Total> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self, session: &mut Watched<Collector>, index: usize) -> Result<()> {
        let (samples, progress) = (self.pass.samples, self.pass.progress);
        let mut batch = samples.get(index)?;
        let unreadable = std::mem::take(&mut batch.unreadable);
        if !unreadable.is_empty() {
            let mut total = self.total();
            total.tally.add(unreadable.clone(), progress)?;
        }
        session.watcher().begin(&batch, samples.batch());
        if batch.rows > 0 {
            let inputs: Vec<_> = batch.inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
            session.run(&inputs)?;
        }
        session.watcher().end(index, unreadable, || samples.name(index))?;
        let mut total = self.total();
        total.seen += samples.rows_of(index);
        progress.advance_steadily(samples.unit(), total.seen as u64, samples.rows() as u64);
        Ok(())
    }

    /// Adds what the worker has seen to the total, and saves it when it is time.
    fn hand_over(&self, session: &mut Watched<Collector>) -> Result<()> {
        let mut total = self.total();
        session.watcher().hand_over(&mut total.observation);
        if total.saved.elapsed() < CHECKPOINT_INTERVAL {
            return Ok(());
        }
        total.saved = Instant::now();
        (self.pass.checkpoint)(&total.observation)
    }

    fn fail(&self, index: usize, error: Error) {
        self.stop.store(true, Ordering::Relaxed);
        let mut total = self.total();
        if total.failure.as_ref().is_none_or(|(first, _)| index < *first) {
            total.failure = Some((index, error));
        }
    }
}
