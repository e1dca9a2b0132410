//! The open loop: requests come at random times, whether or not earlier ones were answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::latency::{PhaseRecorder, Recorder};
use super::memory::Watch;
use super::poisson::Poisson;
use super::report::{Loop, Mode, Run, Throughput, WarmedUp};
use super::settings::{Open, Settings, Stage};
use super::warm_up::WarmUp;
use super::{inputs, session};
use crate::batcher::{BatchEngine, Batcher, BatcherOptions, Response, Sample, SessionEngine};
use crate::bytes::mib;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::monitor::Counters;
use crate::shape::Shape;

/// Most memory of requests that wait, in bytes; it bounds how far behind an engine that is too slow can fall.
const QUEUE_BYTES: u64 = mib(256);
/// Nearer than this to an arrival a sleep would end too late.
const SLEEP_SLACK: Duration = Duration::from_micros(100);
/// How often it is looked whether the last answers are there.
const DRAIN_POLL: Duration = Duration::from_micros(500);

/// Measures an engine in an open loop: requests at Poisson times, gathered by a [`Batcher`] over as many sessions as there
/// are streams. Latency counts from when a request was due. Measuring ends when the last answer is there.
///
/// # Errors
/// What sessions of this kind are refused for, inputs without a common batch, and what goes wrong in a run.
pub fn open(engine: &Engine, asked: &Open, settings: &Settings<'_>) -> Result<Run> {
    let mut arrivals = Poisson::new(asked.per_second, settings.seed)?;
    let watch = Watch::start(engine.ledger());
    let tally = Arc::new(Tally::new()?);
    let mut sessions = Vec::with_capacity(asked.closed.streams);
    let mut prepared = None;
    for _ in 0..asked.closed.streams {
        let mut session = session::session(engine, &asked.closed, 1, true)?;
        let shapes = session::shapes(&mut session)?;
        let batch = session::batch(engine, &shapes);
        let mode =
            session::mode(Loop::Open, engine, &asked.closed, batch, asked.closed.cuda_graph && !engine.is_unified());
        prepared = Some((shapes, mode));
        let (tally, counters) = (Arc::clone(&tally), settings.counters.cloned().unwrap_or_default());
        sessions.push(Observed { engine: SessionEngine::new(session)?, tally, counters });
    }
    let Some((shapes, mode)) = prepared else {
        let reason = "a measurement has at least one";
        return Err(Error::Request { what: "streams", value: 0, reason });
    };
    let mode =
        Mode { rate_per_s: Some(asked.per_second), max_delay_us: Some(asked.max_delay.as_secs_f64() * 1e6), ..mode };
    let sample = sample(engine, &shapes, settings.seed);
    let queue_capacity = queue_capacity(&sample);
    let options = BatcherOptions { max_delay: asked.max_delay, queue_capacity, ..BatcherOptions::default() };
    let load = Load { batcher: Batcher::new(sessions, options)?, sample, tally };
    (settings.tell)(Stage::WarmUp);
    let warm_up = load.warm_up(settings.warm_up, asked.closed.streams * mode.batch as usize * 2)?;
    (settings.tell)(Stage::Measure);
    let measured = load.measure(&mut arrivals, settings)?;
    let tally = load.tally.lock();
    let answered = tally.latency.count();
    let allocations = measured.allocations.map(|count| count as f64 / answered.max(1) as f64);
    let seconds = measured.took.as_secs_f64();
    Ok(Run {
        mode,
        shapes: session::texts(&shapes),
        warm_up,
        seconds,
        runs: tally.batches,
        refused: measured.refused,
        throughput: Throughput::new(answered, tally.batches, seconds, !engine.is_unified()),
        latency_us: tally.latency.latency(),
        phases_us: tally.phases.phases(),
        memory: watch.memory(allocations),
        clocks: None,
    })
}

/// One request: the inputs of a single inference.
fn sample(engine: &Engine, shapes: &BTreeMap<String, Shape>, seed: u64) -> Sample {
    let mut random = fastrand::Rng::with_seed(seed);
    let inputs = &engine.signature().inputs;
    let shape = |name: &str| shapes.get(name).copied().unwrap_or_default().with_batch(1);
    Sample { tensors: inputs.iter().map(|input| inputs::bytes(input, &shape(&input.name), &mut random)).collect() }
}

fn queue_capacity(sample: &Sample) -> usize {
    let bytes = sample.tensors.iter().map(|tensor| tensor.len() as u64).sum::<u64>().max(1);
    (QUEUE_BYTES / bytes).clamp(16, 1024) as usize
}

/// What comes of requests; shared by whoever sends and whoever answers.
struct Tally {
    records: Mutex<Records>,
    measuring: AtomicBool,
    /// Requests let in that have no answer yet.
    waiting: AtomicU64,
}

struct Records {
    latency: Recorder,
    phases: PhaseRecorder,
    batches: u64,
    last_answer: Option<Instant>,
    error: Option<Error>,
}

impl Tally {
    fn new() -> Result<Self> {
        let records = Records {
            latency: Recorder::new()?,
            phases: PhaseRecorder::new()?,
            batches: 0,
            last_answer: None,
            error: None,
        };
        Ok(Self { records: Mutex::new(records), measuring: AtomicBool::new(false), waiting: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the answer to a request that was due at `due`.
    fn answered(&self, due: Instant, answer: Result<Sample>) {
        let now = Instant::now();
        let mut records = self.lock();
        match answer {
            Ok(_) => {
                records.latency.record(now.saturating_duration_since(due));
                records.last_answer = Some(now);
            }
            Err(error) => records.error = records.error.take().or(Some(error)),
        }
        drop(records);
        self.waiting.fetch_sub(1, Ordering::Release);
    }
}

/// A session behind the batcher whose batches are counted while it is measured.
struct Observed {
    engine: SessionEngine,
    tally: Arc<Tally>,
    counters: Counters,
}

impl BatchEngine for Observed {
    type Input = Sample;
    type Output = Sample;

    fn largest_batch(&self) -> usize {
        self.engine.largest_batch()
    }

    fn run(&mut self, inputs: &mut [Sample], outputs: &mut Vec<Result<Sample>>) -> Result<()> {
        let batch = inputs.len() as u64;
        self.engine.run(inputs, outputs)?;
        self.counters.ran(batch);
        if self.tally.measuring.load(Ordering::Acquire) {
            let mut records = self.tally.lock();
            records.batches += 1;
            if let Some(timing) = self.engine.session().timing(0)? {
                records.phases.ran(timing);
            }
        }
        Ok(())
    }
}

/// A batcher and what is sent to it.
struct Load {
    batcher: Batcher<Observed>,
    sample: Sample,
    tally: Arc<Tally>,
}

struct Measured {
    took: Duration,
    refused: u64,
    allocations: Option<u64>,
}

impl Load {
    /// Keeps `depth` requests under way until throughput has settled; the batcher learns what sizes are worth meanwhile.
    fn warm_up(&self, limit: Duration, depth: usize) -> Result<WarmedUp> {
        let mut warm_up = WarmUp::new(limit);
        let mut pending: VecDeque<Response<Sample>> = VecDeque::with_capacity(depth);
        let start = Instant::now();
        let done = loop {
            while pending.len() < depth.max(1) {
                pending.push_back(self.batcher.submit_when_room(self.sample.clone())?);
            }
            if let Some(oldest) = pending.pop_front() {
                oldest.wait()?;
            }
            if let Some(done) = warm_up.ended(start.elapsed()) {
                break done;
            }
        };
        pending.into_iter().try_for_each(|response| response.wait().map(drop))?;
        Ok(done)
    }

    fn measure(&self, arrivals: &mut Poisson, settings: &Settings<'_>) -> Result<Measured> {
        self.tally.measuring.store(true, Ordering::Release);
        let before = settings.allocations.map(|count| count());
        let start = Instant::now();
        let mut refused = 0;
        for (number, arrival) in arrivals.enumerate() {
            if arrival > settings.duration && number > 0 {
                break;
            }
            refused += u64::from(!self.send(start + arrival)?);
        }
        self.drain();
        let allocations = settings.allocations.zip(before).map(|(count, before)| count().saturating_sub(before));
        let mut records = self.tally.lock();
        match records.error.take() {
            Some(error) => Err(error),
            None => {
                let last = records.last_answer.map_or(Duration::ZERO, |last| last.saturating_duration_since(start));
                Ok(Measured { took: last.max(settings.duration), refused, allocations })
            }
        }
    }

    /// Sends a request when it is due, or at once where that has passed; whether it was let in.
    fn send(&self, due: Instant) -> Result<bool> {
        // Copied beforehand, so that it does not delay a request that is in time.
        let request = self.sample.clone();
        wait_until(due);
        let tally = Arc::clone(&self.tally);
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        match self.batcher.submit_with(request, None, move |answer| tally.answered(due, answer)) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
                matches!(error, Error::QueueFull { .. }).then_some(false).ok_or(error)
            }
        }
    }

    /// Waits for the last answers; the batcher gives one for every request that was let in.
    fn drain(&self) {
        while self.tally.waiting.load(Ordering::Acquire) > 0 {
            std::thread::sleep(DRAIN_POLL);
        }
    }
}

/// Waits on an absolute clock: by sleep, and for what a sleep cannot be trusted with by looking.
fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > SLEEP_SLACK {
        std::thread::sleep(left - SLEEP_SLACK);
    }
    while Instant::now() < due {
        std::thread::yield_now();
    }
}
