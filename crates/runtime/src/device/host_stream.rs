//! Streams of the host device: a thread each, which works through what it is given in order.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::host::Shared;
use super::host_memory::Block;
use crate::error::{Error, Result};

/// Work in order on the host.
#[derive(Debug)]
pub struct HostStream {
    queue: Arc<Queue>,
    worker: Option<JoinHandle<()>>,
}

/// A point in a host stream.
#[derive(Debug, Clone, Default)]
pub struct HostEvent {
    state: Arc<EventState>,
}

#[derive(Debug, Default)]
struct EventState {
    /// Times it was recorded, and of these how many have passed.
    counts: Mutex<(u64, u64)>,
    passed: Condvar,
}

enum Operation {
    Copy { from: Arc<Block>, to: Arc<Block>, bytes: usize },
    Record(HostEvent, u64),
    Wait(HostEvent, u64),
}

struct Queue {
    host: Arc<Shared>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Operation>,
    busy: bool,
    closed: bool,
    failed: Option<&'static str>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} operations", self.lock().waiting.len())
    }
}

impl HostStream {
    pub(super) fn new(host: Arc<Shared>) -> Result<Self> {
        let queue = Arc::new(Queue { host, state: Mutex::default(), changed: Condvar::new() });
        let shared = Arc::clone(&queue);
        let worker = std::thread::Builder::new().name("trtforge-stream".to_owned()).spawn(move || shared.work());
        let refused = |error: std::io::Error| Error::Device {
            device: "host".to_owned(),
            call: "start of a stream",
            reason: error.to_string(),
        };
        Ok(Self { queue, worker: Some(worker.map_err(refused)?) })
    }

    pub(super) fn copy(&mut self, from: &Arc<Block>, to: &Arc<Block>, bytes: usize) -> Result<()> {
        self.push(Operation::Copy { from: Arc::clone(from), to: Arc::clone(to), bytes })
    }

    pub(super) fn record(&mut self, event: &HostEvent) -> Result<()> {
        let mut counts = event.counts();
        counts.0 += 1;
        let number = counts.0;
        drop(counts);
        self.push(Operation::Record(event.clone(), number))
    }

    pub(super) fn wait(&mut self, event: &HostEvent) -> Result<()> {
        let number = event.counts().0;
        self.push(Operation::Wait(event.clone(), number))
    }

    fn push(&mut self, operation: Operation) -> Result<()> {
        self.queue.lock().waiting.push_back(operation);
        self.queue.changed.notify_all();
        Ok(())
    }

    pub(super) fn synchronize(&mut self) -> Result<()> {
        let mut state = self.queue.lock();
        while state.busy || !state.waiting.is_empty() {
            state = self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.failed.take() {
            None => Ok(()),
            Some(reason) => Err(Error::Late { device: "host".to_owned(), reason: reason.to_owned() }),
        }
    }
}

impl Drop for HostStream {
    /// Lets what was given finish. A stream that is never dropped keeps its thread and what that holds.
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // The worker catches nothing and panics at nothing; its end is all that matters here.
            let _ = worker.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((operation, skip)) = self.next() {
            let fails = self.host.faults.operation_fails();
            if !skip && !fails {
                operation.perform();
            }
            operation.pass();
            // What it held is let go before anybody is told that it is done.
            drop(operation);
            let mut state = self.lock();
            state.busy = false;
            if fails {
                state.failed = Some("an operation was made to fail");
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next operation and whether it is passed over, as everything behind a failure is until that was told.
    fn next(&self) -> Option<(Operation, bool)> {
        let mut state = self.lock();
        loop {
            if let Some(operation) = state.waiting.pop_front() {
                state.busy = true;
                return Some((operation, state.failed.is_some()));
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Operation {
    fn perform(&self) {
        match self {
            Self::Copy { from, to, bytes } => from.copy_to(to, *bytes),
            Self::Wait(event, number) => event.wait_for(*number),
            Self::Record(..) => {}
        }
    }

    /// Events pass even behind a failure: whoever waits for one would wait for ever.
    fn pass(&self) {
        if let Self::Record(event, number) = self {
            event.pass(*number);
        }
    }
}

impl HostEvent {
    fn counts(&self) -> MutexGuard<'_, (u64, u64)> {
        self.state.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_done(&self) -> bool {
        let counts = self.counts();
        counts.0 == counts.1
    }

    fn pass(&self, number: u64) {
        let mut counts = self.counts();
        counts.1 = counts.1.max(number);
        drop(counts);
        self.state.passed.notify_all();
    }

    fn wait_for(&self, number: u64) {
        let mut counts = self.counts();
        while counts.1 < number {
            counts = self.state.passed.wait(counts).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
