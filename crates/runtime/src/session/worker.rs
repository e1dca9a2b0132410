//! The thread that runs what was submitted to a session on the host, in order.
//!
//! A slot is moved here and back, never shared. Its queue has room for all slots from the start, so that handing one over
//! allocates nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use super::RunTiming;
use super::lane::Lane;
use crate::error::{Error, Result};
use crate::sync::thread::{Builder, JoinHandle};
use crate::sync::{Condvar, Mutex, MutexGuard};

type Answer = (Box<Lane>, Result<Option<RunTiming>>);

pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    given: Condvar,
    done: Condvar,
    /// Whether runs are timed.
    timed: bool,
}

struct State {
    waiting: VecDeque<(usize, Box<Lane>)>,
    answers: Vec<Option<Answer>>,
    closed: bool,
}

impl Worker {
    pub(crate) fn start(slots: usize, timed: bool) -> Result<Self> {
        let answers = std::iter::repeat_with(|| None).take(slots).collect();
        let state = State { waiting: VecDeque::with_capacity(slots), answers, closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), given: Condvar::new(), done: Condvar::new(), timed });
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name("trtforge-session".to_owned()).spawn(move || theirs.work());
        let refused = |error: std::io::Error| Error::Device {
            device: "host".to_owned(),
            call: "start of a thread",
            reason: error.to_string(),
        };
        Ok(Self { shared, thread: Some(thread.map_err(refused)?) })
    }

    pub(crate) fn give(&self, slot: usize, lane: Box<Lane>) {
        self.shared.lock().waiting.push_back((slot, lane));
        self.shared.given.notify_one();
    }

    pub(crate) fn is_done(&self, slot: usize) -> bool {
        self.shared.lock().answers[slot].is_some()
    }

    /// Waits for what was given with this slot.
    pub(crate) fn take(&self, slot: usize) -> Answer {
        let mut state = self.shared.lock();
        loop {
            if let Some(answer) = state.answers[slot].take() {
                return answer;
            }
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Worker {
    /// Waits for the run under way; what has not begun is not run.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.given.notify_one();
        if let Some(thread) = self.thread.take() {
            // Runs catch panics, so the thread ends well; if it did not there would be nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((slot, mut lane)) = self.next() {
            let answer = lane.run(self.timed);
            self.lock().answers[slot] = Some((lane, answer));
            self.done.notify_all();
        }
    }

    fn next(&self) -> Option<(usize, Box<Lane>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(next) = state.waiting.pop_front() {
                return Some(next);
            }
            state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
