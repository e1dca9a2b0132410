//! The queue between those who ask and those who run.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::policy::{Decision, View, decide};
use super::response::Reply;
use super::tuner::Tuner;
use super::{BatcherOptions, BatcherStatistics};
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// A request that waits. Times are since the queue was made.
pub(super) struct Request<I, O> {
    pub(super) input: I,
    pub(super) arrived: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) reply: Reply<O>,
}

pub(super) struct Queue<I, O> {
    start: Instant,
    options: BatcherOptions,
    state: Mutex<State<I, O>>,
    arrived: Condvar,
    room: Condvar,
}

struct State<I, O> {
    requests: VecDeque<Request<I, O>>,
    /// No later than the earliest deadline of those that wait.
    deadline: Option<Duration>,
    tuner: Tuner,
    statistics: BatcherStatistics,
    closing: Closing,
    /// Workers that sleep, and askers that wait for room: nobody is woken in vain.
    sleeping: usize,
    blocked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    AfterWhatWaits,
    Now,
}

impl<I, O> Queue<I, O> {
    pub(super) fn new(options: BatcherOptions) -> Self {
        let state = State {
            requests: VecDeque::with_capacity(options.queue_capacity.min(1 << 16)),
            deadline: None,
            tuner: Tuner::new(&options),
            statistics: BatcherStatistics::default(),
            closing: Closing::No,
            sleeping: 0,
            blocked: 0,
        };
        let (arrived, room) = (Condvar::new(), Condvar::new());
        Self { start: Instant::now(), options, state: Mutex::new(state), arrived, room }
    }

    fn lock(&self) -> MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().requests.len()
    }

    pub(super) fn statistics(&self) -> BatcherStatistics {
        let state = self.lock();
        BatcherStatistics { ceiling: state.tuner.ceiling(), ..state.statistics }
    }

    /// Lets a request in if there is room.
    pub(super) fn push(&self, request: Request<I, O>) -> Result<()> {
        let mut state = self.lock();
        let refusal = if state.closing != Closing::No {
            Error::ShutDown
        } else if state.requests.len() >= self.options.queue_capacity {
            state.statistics.refused += 1;
            Error::QueueFull { capacity: self.options.queue_capacity }
        } else {
            self.insert(state, request);
            return Ok(());
        };
        drop(state);
        request.reply.forget();
        Err(refusal)
    }

    /// Lets a request in as soon as there is room.
    pub(super) fn push_when_room(&self, mut request: Request<I, O>) -> Result<()> {
        let mut state = self.lock();
        while state.closing == Closing::No && state.requests.len() >= self.options.queue_capacity {
            state.blocked += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
        if state.closing != Closing::No {
            drop(state);
            request.reply.forget();
            return Err(Error::ShutDown);
        }
        request.arrived = self.now();
        self.insert(state, request);
        Ok(())
    }

    fn insert(&self, mut state: MutexGuard<'_, State<I, O>>, request: Request<I, O>) {
        state.deadline = earlier(state.deadline, request.deadline);
        state.requests.push_back(request);
        state.statistics.accepted += 1;
        state.statistics.peak_waiting = state.statistics.peak_waiting.max(state.requests.len());
        // A worker that waits for more than has come need not be woken before its time, unless this moves that forward.
        let wake = state.sleeping > 0
            && (state.requests.len() == 1 || state.deadline.is_some() || state.requests.len() >= state.tuner.target());
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Waits for the next batch, and moves it into `batch`; false at the end. Requests whose deadline passed go to `expired`.
    pub(super) fn next(&self, batch: &mut Vec<Request<I, O>>, expired: &mut Vec<Request<I, O>>) -> bool {
        let mut state = self.lock();
        loop {
            let closing = state.closing;
            if closing == Closing::Now || (closing == Closing::AfterWhatWaits && state.requests.is_empty()) {
                return false;
            }
            let now = self.now();
            if state.deadline.is_some_and(|deadline| deadline <= now) {
                state.expire(now, expired);
                if !expired.is_empty() {
                    break;
                }
            }
            state = match decide(state.view(), now, self.options.max_delay, &state.tuner) {
                Decision::Run(size) => {
                    let size = size.min(state.requests.len());
                    batch.extend(state.requests.drain(..size));
                    if state.requests.is_empty() {
                        state.deadline = None;
                    }
                    break;
                }
                Decision::Idle => self.sleep(state, None),
                Decision::Until(until) => self.sleep(state, Some(until.saturating_sub(now))),
            };
        }
        // Another worker may have slept through what is left.
        let (more, room) = (state.sleeping > 0 && !state.requests.is_empty(), state.blocked > 0);
        drop(state);
        if more {
            self.arrived.notify_one();
        }
        if room {
            self.room.notify_all();
        }
        true
    }

    fn sleep<'q>(
        &'q self,
        mut state: MutexGuard<'q, State<I, O>>,
        time: Option<Duration>,
    ) -> MutexGuard<'q, State<I, O>> {
        state.sleeping += 1;
        let mut state = match time {
            None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.arrived.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
        };
        state.sleeping -= 1;
        state
    }

    /// Puts a batch back where it was taken from, to be tried in smaller ones.
    pub(super) fn put_back(&self, batch: &mut Vec<Request<I, O>>) {
        let mut state = self.lock();
        for request in batch.drain(..).rev() {
            state.deadline = earlier(state.deadline, request.deadline);
            state.requests.push_front(request);
        }
    }

    /// Changes what is counted and learnt.
    pub(super) fn record(&self, change: impl FnOnce(&mut BatcherStatistics, &mut Tuner)) {
        let state = &mut *self.lock();
        change(&mut state.statistics, &mut state.tuner);
    }

    pub(super) fn close(&self, run_what_waits: bool) {
        let mut state = self.lock();
        state.closing = if run_what_waits { Closing::AfterWhatWaits } else { Closing::Now };
        drop(state);
        self.arrived.notify_all();
        self.room.notify_all();
    }

    /// Answers what still waits when no worker is left.
    pub(super) fn refuse_waiting(&self) {
        let requests: Vec<_> = self.lock().requests.drain(..).collect();
        let count = requests.len() as u64;
        let panics = requests.into_iter().filter_map(|it| (!it.reply.give(Err(Error::ShutDown))).then_some(())).count();
        self.record(|statistics, _| {
            statistics.refused_at_end += count;
            statistics.callback_panics += panics as u64;
        });
    }
}

impl<I, O> State<I, O> {
    fn view(&self) -> View {
        View {
            waiting: self.requests.len(),
            first_arrived: self.requests.front().map(|request| request.arrived).unwrap_or_default(),
            deadline: self.deadline,
            closing: self.closing != Closing::No,
        }
    }

    /// Takes out requests whose deadline passed, and finds the earliest of the others.
    fn expire(&mut self, now: Duration, expired: &mut Vec<Request<I, O>>) {
        self.deadline = None;
        for _ in 0..self.requests.len() {
            let Some(request) = self.requests.pop_front() else { break };
            if request.deadline.is_some_and(|deadline| deadline <= now) {
                expired.push(request);
            } else {
                self.deadline = earlier(self.deadline, request.deadline);
                self.requests.push_back(request);
            }
        }
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
