//! The closed loop: every slot is kept busy.

use std::time::{Duration, Instant};

use super::latency::{PhaseRecorder, Recorder};
use super::memory::Watch;
use super::report::{Loop, Run, Throughput, WarmedUp};
use super::settings::{Closed, Settings, Stage};
use super::warm_up::WarmUp;
use super::{inputs, session};
use crate::engine::Engine;
use crate::error::Result;
use crate::monitor::Counters;
use crate::session::{Session, Ticket};

/// Measures an engine in a closed loop: as many runs under way as there are streams, the next as soon as one has ended.
///
/// # Errors
/// What a session of this kind is refused for, and what goes wrong in a run.
pub fn closed(engine: &Engine, asked: &Closed, settings: &Settings<'_>) -> Result<Run> {
    let watch = Watch::start(engine.ledger());
    let mut session = session::session(engine, asked, asked.streams, false)?;
    inputs::fill(&mut session, settings.seed)?;
    let shapes = session::shapes(&mut session)?;
    let batch = session::batch(engine, &shapes);
    let mut ring = Ring::new(session, batch, settings.counters)?;
    (settings.tell)(Stage::WarmUp);
    let warm_up = ring.warm_up(settings.warm_up)?;
    (settings.tell)(Stage::Measure);
    let measured = ring.measure(settings)?;
    let allocations = measured.allocations.map(|count| count as f64 / (measured.runs * batch) as f64);
    let memory = watch.memory(allocations);
    ring.session.wait_all()?;
    let graph = ring.session.cuda_graph() == crate::session::GraphState::Active;
    let mode = session::mode(Loop::Closed, engine, asked, batch, graph);
    let seconds = measured.took.as_secs_f64();
    let throughput = Throughput::new(measured.runs * batch, measured.runs, seconds, !engine.is_unified());
    Ok(Run {
        mode,
        shapes: session::texts(&shapes),
        warm_up,
        seconds,
        runs: measured.runs,
        refused: 0,
        throughput,
        latency_us: measured.latency.latency(),
        phases_us: measured.phases.phases(),
        memory,
        clocks: None,
    })
}

/// A session whose slots are all busy, the oldest run first.
struct Ring<'s> {
    session: Session,
    flights: Vec<Flight>,
    oldest: usize,
    /// Inferences in a run.
    batch: u64,
    counters: Option<&'s Counters>,
}

/// A run, and what giving it to the engine took.
struct Flight {
    state: State,
    begun: Instant,
    enqueued: Option<Duration>,
}

enum State {
    UnderWay(Ticket),
    /// It took this long.
    Ended(Duration),
}

struct Measured {
    took: Duration,
    runs: u64,
    allocations: Option<u64>,
    latency: Recorder,
    phases: PhaseRecorder,
}

impl<'s> Ring<'s> {
    fn new(mut session: Session, batch: u64, counters: Option<&'s Counters>) -> Result<Self> {
        let flights = (0..session.slots()).map(|slot| Flight::begin(&mut session, slot)).collect::<Result<_>>()?;
        Ok(Self { session, flights, oldest: 0, batch, counters })
    }

    /// Waits for the oldest run, tells it to `ended` and begins the next in its slot.
    fn turn(&mut self, ended: impl FnOnce(&Flight, Duration, &Session)) -> Result<()> {
        let slot = self.oldest;
        let flight = &mut self.flights[slot];
        let took = match flight.state {
            State::UnderWay(ticket) => {
                self.session.wait(ticket)?;
                flight.begun.elapsed()
            }
            State::Ended(took) => took,
        };
        ended(flight, took, &self.session);
        self.counters.into_iter().for_each(|counters| counters.ran(self.batch));
        *flight = Flight::begin(&mut self.session, slot)?;
        self.oldest = (slot + 1) % self.flights.len();
        Ok(())
    }

    /// Runs until throughput has settled, and every slot at least twice.
    fn warm_up(&mut self, limit: Duration) -> Result<WarmedUp> {
        let mut warm_up = WarmUp::new(limit);
        let start = Instant::now();
        let mut turns = 0;
        loop {
            self.turn(|_, _, _| ())?;
            turns += 1;
            if let Some(done) = warm_up.ended(start.elapsed())
                && turns >= 2 * self.flights.len()
            {
                return Ok(done);
            }
        }
    }

    fn measure(&mut self, settings: &Settings<'_>) -> Result<Measured> {
        let (mut latency, mut phases) = (Recorder::new()?, PhaseRecorder::new()?);
        let before = settings.allocations.map(|count| count());
        let start = Instant::now();
        let mut took = Duration::ZERO;
        while took < settings.duration || latency.count() == 0 {
            let slot = self.oldest;
            self.turn(|flight, elapsed, session| {
                latency.record(elapsed);
                flight.enqueued.into_iter().for_each(|took| phases.enqueued(took));
                if let Ok(Some(timing)) = session.timing(slot) {
                    phases.ran(timing);
                }
            })?;
            took = start.elapsed();
        }
        let allocations = settings.allocations.zip(before).map(|(count, before)| count().saturating_sub(before));
        let runs = latency.count();
        Ok(Measured { took, runs, allocations, latency, phases })
    }
}

impl Flight {
    fn begin(session: &mut Session, slot: usize) -> Result<Self> {
        let begun = Instant::now();
        if session.slots() == 1 && session.engine().is_unified() {
            // Handing the only slot over to a thread that runs it here as well would be measured with it.
            session.run()?;
            return Ok(Self { state: State::Ended(begun.elapsed()), begun, enqueued: None });
        }
        let ticket = session.slot(slot)?.submit()?;
        Ok(Self { state: State::UnderWay(ticket), begun, enqueued: Some(begun.elapsed()) })
    }
}
