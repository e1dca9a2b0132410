//! Sessions: everything that runs of an engine need, allocated once.
//!
//! A session has slots, each with buffers of its own whose addresses are bound once. A run goes on in one slot; as many
//! can be under way as there are slots. A slot whose run is under way is not in the session: it was handed over, and
//! comes back with the answer. So nothing can be read half-written, and it does not matter whether a ticket or the session
//! itself is dropped, or when.

mod admission;
pub(crate) mod lane;
#[cfg(all(test, loom))]
mod models;
mod options;
mod slot;
mod timing;
mod worker;
pub(crate) mod workspace;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use options::SessionOptions;
pub use slot::Slot;
pub use timing::RunTiming;
pub use workspace::Workspace;

use crate::element::Element;
use crate::engine::{Engine, Layout};
use crate::error::{Error, Result};
use crate::ledger::Plan;
use crate::shape::Shape;
use admission::Admission;
use lane::Lane;
pub(crate) use lane::LaneOptions;
use slot::State;
use worker::Worker;

/// A promise of a run's answer; redeemed by [`Session::wait`]. It may be dropped: the run goes on, and the slot is free
/// again after [`Session::wait_all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    session: u64,
    slot: usize,
    number: u64,
}

/// Runs an engine in buffers of its own. It may move between threads, and is used by one at a time:
///
/// ```compile_fail,E0499
/// # fn two(mut session: trtforge_runtime::Session) {
/// std::thread::scope(|scope| {
///     scope.spawn(|| session.run());
///     scope.spawn(|| session.run());
/// });
/// # }
/// ```
pub struct Session {
    identity: u64,
    engine: Engine,
    layout: Layout,
    plan: Plan,
    is_streaming: bool,
    slots: Vec<State>,
    worker: Option<Worker>,
    tickets: u64,
    cuda_graph: bool,
    timed: bool,
}

/// Whether runs are replayed from a captured CUDA graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphState {
    /// None was asked for.
    NotAsked,
    /// None now, for this reason.
    Inactive(String),
    /// Runs are replayed.
    Active,
}

static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Session {
    pub(crate) fn new(engine: &Engine, options: SessionOptions, number: u64) -> Result<Self> {
        let SessionOptions { mut request, budget_bytes, cuda_graph, timed, without_copies, workspace } = options;
        request.shares_activations |= workspace.is_some();
        let layout = engine.layout(&request)?;
        let owner = format!("{} session {number}", engine.name());
        let lane = LaneOptions { workspace: workspace.as_ref(), cuda_graph, timed, without_copies };
        let allocate = |admission: &Admission| -> Result<Vec<State>> {
            let lane = || Lane::new(engine, &owner, &layout, admission, &lane);
            (0..request.slots).map(|_| Ok(State::new(lane()?, engine, &layout))).collect()
        };
        let mut admission = Admission::ask(engine, &layout, &request, budget_bytes, false)?;
        let slots = match allocate(&admission) {
            // The device has less than the budget allows: where stages can come and go they do.
            Err(error) if error.is_out_of_memory() && admission.is_resident() => {
                drop(admission);
                admission = Admission::ask(engine, &layout, &request, budget_bytes, true)?;
                allocate(&admission)?
            }
            slots => slots?,
        };
        Ok(Self {
            identity: SESSIONS.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            slots,
            layout,
            plan: admission.plan(),
            is_streaming: admission.is_streaming(),
            worker: None,
            tickets: 0,
            cuda_graph,
            timed,
        })
    }

    /// The engine it runs.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Memory that it and its engine hold, by class; where stages come and go, the most that a run needs at one time.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Whether stages of its engine come and go with each run, because its limit does not hold all of them.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.is_streaming
    }

    /// Number of slots.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether the first slot's runs are replayed from a CUDA graph. A graph is captured at the second run of a shape, and
    /// goes when the slot's shapes change: give shapes that alternate a slot each.
    #[must_use]
    pub fn cuda_graph(&self) -> GraphState {
        match self.slots.first().and_then(|state| state.lane.as_ref()) {
            _ if !self.cuda_graph => GraphState::NotAsked,
            Some(lane) => lane.graph_state(),
            None => GraphState::Inactive("the engine runs on the CPU or in stages".to_owned()),
        }
    }

    /// A slot, from 0.
    ///
    /// # Errors
    /// [`Error::NoSlot`].
    pub fn slot(&mut self, slot: usize) -> Result<Slot<'_>> {
        if slot >= self.slots.len() {
            return Err(Error::NoSlot { slot, slots: self.slots.len() });
        }
        Ok(Slot { session: self, slot })
    }

    fn first(&mut self) -> Slot<'_> {
        Slot { session: self, slot: 0 }
    }

    /// The first slot's [`Slot::set_shape`].
    ///
    /// # Errors
    /// As there.
    pub fn set_shape(&mut self, input: &str, shape: &[u64]) -> Result<()> {
        self.first().set_shape(input, shape)
    }

    /// The first slot's [`Slot::set_batch`].
    ///
    /// # Errors
    /// As there.
    pub fn set_batch(&mut self, batch: u64) -> Result<()> {
        self.first().set_batch(batch)
    }

    /// The first slot's [`Slot::input`].
    ///
    /// # Errors
    /// As there.
    pub fn input<T: Element>(&mut self, name: &str) -> Result<&mut [T]> {
        self.first().into_input(name)
    }

    /// The first slot's [`Slot::output`].
    ///
    /// # Errors
    /// As there.
    pub fn output<T: Element>(&mut self, name: &str) -> Result<&[T]> {
        self.first().into_output(name)
    }

    /// The first slot's [`Slot::output_shape`].
    ///
    /// # Errors
    /// As there.
    pub fn output_shape(&mut self, name: &str) -> Result<Shape> {
        self.first().output_shape(name)
    }

    /// The first slot's [`Slot::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run(&mut self) -> Result<()> {
        self.first().run()
    }

    /// The first slot's [`Slot::submit`].
    ///
    /// # Errors
    /// As there.
    pub fn submit(&mut self) -> Result<Ticket> {
        self.first().submit()
    }

    /// Blocks until the run is done; its slot then shows the outputs.
    ///
    /// # Errors
    /// What went wrong in the run; [`Error::StaleTicket`] for a ticket of another session or one that was redeemed.
    pub fn wait(&mut self, ticket: Ticket) -> Result<()> {
        self.check(ticket)?;
        self.collect(ticket.slot)
    }

    /// Whether the run is done, so that [`Self::wait`] would not block.
    ///
    /// # Errors
    /// [`Error::StaleTicket`], and failures of the device.
    pub fn is_done(&self, ticket: Ticket) -> Result<bool> {
        self.check(ticket)?;
        let state = &self.slots[ticket.slot];
        match (&state.lane, &self.worker) {
            (Some(lane), _) => lane.is_done(),
            (None, Some(worker)) => Ok(worker.is_done(ticket.slot)),
            (None, None) => Ok(true),
        }
    }

    /// Blocks until no run is under way.
    ///
    /// # Errors
    /// What went wrong first; the other runs are waited for all the same.
    pub fn wait_all(&mut self) -> Result<()> {
        let mut answer = Ok(());
        for slot in 0..self.slots.len() {
            if self.slots[slot].flight.is_some() {
                answer = answer.and(self.collect(slot));
            }
        }
        answer
    }

    /// How long the parts of a slot's last run took. Nothing before the first, while one is under way, after one that
    /// failed, and where [`SessionOptions::timed`] was not asked for.
    ///
    /// # Errors
    /// [`Error::NoSlot`].
    pub fn timing(&self, slot: usize) -> Result<Option<RunTiming>> {
        let slots = self.slots.len();
        let state = self.slots.get(slot).ok_or(Error::NoSlot { slot, slots })?;
        Ok(state.timing.filter(|_| state.flight.is_none()))
    }

    fn check(&self, ticket: Ticket) -> Result<()> {
        let stale = |reason| Err(Error::StaleTicket { reason });
        if ticket.session != self.identity {
            return stale("it is of another session");
        }
        match self.slots.get(ticket.slot).and_then(|state| state.flight) {
            Some(number) if number == ticket.number => Ok(()),
            _ => stale("it was redeemed"),
        }
    }

    /// Takes a slot back from where it was handed over to.
    fn collect(&mut self, slot: usize) -> Result<()> {
        let state = &mut self.slots[slot];
        state.flight = None;
        let answer = match (&mut state.lane, &self.worker) {
            (Some(lane), _) => lane.finish(),
            (None, Some(worker)) => {
                let (lane, answer) = worker.take(slot);
                state.lane = Some(lane);
                answer
            }
            (None, None) => return Ok(()),
        };
        state.keep(answer)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session")
            .field("engine", &self.engine)
            .field("slots", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// A worker when one is first needed.
fn ensure_worker(worker: &mut Option<Worker>, slots: usize, timed: bool) -> Result<&Worker> {
    match worker {
        Some(worker) => Ok(worker),
        None => Ok(worker.insert(Worker::start(slots, timed)?)),
    }
}

/// Used where a block is shared between the sessions of several threads.
pub(crate) type Shared<T> = Arc<std::sync::Mutex<T>>;
