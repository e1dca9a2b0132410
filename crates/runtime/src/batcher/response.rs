//! Answers on their way back: a future that can also be waited for, or a call. Each is given once, whatever happens.
//!
//! A promise that was kept and taken serves a later request, so that a request allocates none once as many as are under
//! way at a time have been.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard};

type Callback<O> = Box<dyn FnOnce(Result<O>) + Send>;

/// Where an answer goes. One that is dropped unanswered answers that the batcher is shut down.
pub(super) struct Reply<O> {
    to: Option<To<O>>,
}

enum To<O> {
    Promise(Arc<Promise<O>>),
    Callback(Callback<O>),
}

impl<O> Reply<O> {
    pub(super) fn callback(callback: Callback<O>) -> Self {
        Self { to: Some(To::Callback(callback)) }
    }

    /// Gives the answer; whether whoever takes it did so without a panic.
    pub(super) fn give(mut self, answer: Result<O>) -> bool {
        self.send(answer)
    }

    /// Lets go without an answer: whoever asked is told otherwise.
    pub(super) fn forget(mut self) {
        if let Some(To::Promise(promise)) = self.to.take() {
            promise.release();
        }
    }

    fn send(&mut self, answer: Result<O>) -> bool {
        match self.to.take() {
            Some(To::Promise(promise)) => promise.keep(answer),
            Some(To::Callback(callback)) => catch_unwind(AssertUnwindSafe(|| callback(answer))).is_ok(),
            None => true,
        }
    }
}

impl<O> Drop for Reply<O> {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.send(Err(Error::ShutDown));
        }
    }
}

/// Makes promises, and keeps those that are done for the next requests.
pub(super) struct Promises<O> {
    idle: Arc<Idle<O>>,
}

struct Idle<O> {
    list: Mutex<Vec<Arc<Promise<O>>>>,
    most: usize,
}

/// Most idle promises that are kept, whatever the queue holds.
const MOST_IDLE: usize = 1 << 16;

impl<O> Promises<O> {
    /// Keeps as many as `queue_capacity` requests need.
    pub(super) fn new(queue_capacity: usize) -> Self {
        let most = queue_capacity.min(MOST_IDLE);
        Self { idle: Arc::new(Idle { list: Mutex::new(Vec::with_capacity(most)), most }) }
    }

    /// A promise's two sides.
    pub(super) fn pair(&self) -> (Reply<O>, Response<O>) {
        let idle = self.idle.lock().pop();
        let promise = idle.unwrap_or_else(|| Arc::new(Promise::new(Arc::downgrade(&self.idle))));
        promise.lock().sides = 2;
        (Reply { to: Some(To::Promise(Arc::clone(&promise))) }, Response { promise })
    }
}

impl<O> Idle<O> {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Promise<O>>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, promise: Arc<Promise<O>>) {
        let mut list = self.lock();
        if list.len() < self.most {
            list.push(promise);
        }
    }
}

struct Promise<O> {
    state: Mutex<State<O>>,
    kept: Condvar,
    home: Weak<Idle<O>>,
}

struct State<O> {
    answer: Option<Result<O>>,
    waker: Option<Waker>,
    waiting: bool,
    /// How many of reply and response have yet to go.
    sides: u8,
}

impl<O> Promise<O> {
    fn new(home: Weak<Idle<O>>) -> Self {
        let state = Mutex::new(State { answer: None, waker: None, waiting: false, sides: 0 });
        Self { state, kept: Condvar::new(), home }
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One side goes; after the last the promise serves another request.
    fn release(self: Arc<Self>) {
        let mut state = self.lock();
        state.sides -= 1;
        if state.sides > 0 {
            return;
        }
        state.waiting = false;
        let left = (state.answer.take(), state.waker.take());
        drop(state);
        // An answer that nobody took may run code of the application as it goes: outside the lock.
        drop(left);
        if let Some(idle) = self.home.upgrade() {
            idle.put(self);
        }
    }

    /// Gives the answer; whether what then runs of the application, such as the future's waker, did so without a panic.
    fn keep(self: Arc<Self>, answer: Result<O>) -> bool {
        let mut state = self.lock();
        let (waker, waiting) = (state.waker.take(), state.waiting);
        if state.sides == 1 {
            // Nobody is left to take it.
            drop(state);
            return catch_unwind(AssertUnwindSafe(|| {
                drop(answer);
                self.release();
            }))
            .is_ok();
        }
        state.answer = Some(answer);
        // The reply goes here, so that whoever takes the answer is the last. By the time of the call below the promise may
        // serve another request, somebody of which is then woken in vain.
        state.sides -= 1;
        drop(state);
        if waiting {
            self.kept.notify_all();
        }
        waker.is_none_or(|waker| catch_unwind(AssertUnwindSafe(|| waker.wake())).is_ok())
    }
}

/// A request's answer, which may not be there yet. It is a future for any executor, and can be waited for without one.
/// Dropping it does not take the request back.
#[must_use = "the request's answer comes through this"]
pub struct Response<O> {
    promise: Arc<Promise<O>>,
}

impl<O> Drop for Response<O> {
    fn drop(&mut self) {
        Arc::clone(&self.promise).release();
    }
}

impl<O> Response<O> {
    /// Blocks until the answer is there.
    ///
    /// # Errors
    /// The engine's error, a deadline that passed, the batcher's end.
    pub fn wait(self) -> Result<O> {
        let mut state = self.promise.lock();
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            state.waiting = true;
            state = self.promise.kept.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the answer is there, for at most that long; gives this back otherwise.
    ///
    /// # Errors
    /// This response, if there is no answer in time.
    pub fn wait_for(self, timeout: Duration) -> Result<Result<O>, Self> {
        let end = Instant::now() + timeout;
        let mut state = self.promise.lock();
        loop {
            if let Some(answer) = state.answer.take() {
                return Ok(answer);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                return Err(self);
            }
            state.waiting = true;
            state = self.promise.kept.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether the answer is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.promise.lock().answer.is_some()
    }
}

impl<O> Future for Response<O> {
    type Output = Result<O>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<O>> {
        let mut state = self.promise.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl<O> fmt::Debug for Response<O> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Response({})", if self.is_ready() { "ready" } else { "pending" })
    }
}
