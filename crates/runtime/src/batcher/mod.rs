//! Requests from many places, run together.
//!
//! One queue, bounded, first come first served. Each engine given has a thread, which takes the next batch when enough
//! wait or the first has waited for long enough. How large a batch is follows what batches took in time and memory, not a
//! formula. Every request that was let in gets one answer, whatever happens: an engine that fails or panics, a callback
//! that panics, a deadline, the end.
//!
//! ```
//! use std::time::Duration;
//! use trtforge_runtime::{BatchEngine, Batcher, BatcherOptions, Result};
//!
//! struct Squares;
//!
//! impl BatchEngine for Squares {
//!     type Input = u64;
//!     type Output = u64;
//!     fn largest_batch(&self) -> usize {
//!         16
//!     }
//!     fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
//!         outputs.extend(inputs.iter().map(|input| Ok(input * input)));
//!         Ok(())
//!     }
//! }
//!
//! let options = BatcherOptions { max_delay: Duration::from_millis(1), ..BatcherOptions::default() };
//! let batcher = Batcher::new(vec![Squares], options)?;
//! let responses: Vec<_> = (0..100).map(|input| batcher.submit(input)).collect::<Result<_, _>>()?;
//! for (input, response) in responses.into_iter().enumerate() {
//!     assert_eq!(response.wait()?, (input * input) as u64);
//! }
//! # Ok::<(), trtforge_runtime::Error>(())
//! ```

#[cfg(all(test, loom))]
mod models;
mod options;
mod policy;
mod queue;
mod response;
mod session_engine;
mod statistics;
mod tuner;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub use options::BatcherOptions;
pub use response::Response;
pub use session_engine::{Sample, SessionEngine};
pub use statistics::BatcherStatistics;

use crate::error::{Error, Result};
use crate::sync::thread::JoinHandle;
use queue::{Queue, Request};
use response::{Promises, Reply};

/// What runs batches.
pub trait BatchEngine: Send + 'static {
    /// One request's part of a batch.
    type Input: Send + 'static;
    /// One request's answer.
    type Output: Send + 'static;

    /// The largest batch it takes.
    fn largest_batch(&self) -> usize;

    /// Runs a batch: one answer per input, in their order. What is taken out of the inputs may become part of the
    /// answers; with out of memory they must be as they came, because they come again.
    ///
    /// # Errors
    /// What went wrong with all of them. Out of memory ([`Error::is_out_of_memory`]) makes the batcher try again with
    /// fewer.
    fn run(&mut self, inputs: &mut [Self::Input], outputs: &mut Vec<Result<Self::Output>>) -> Result<()>;

    /// Memory that the last batch took, in bytes, where it can tell; batches are kept within
    /// [`BatcherOptions::memory_bytes`] by it.
    fn memory_bytes(&self) -> Option<u64> {
        None
    }
}

/// Gathers requests into batches. May be shared between threads. Dropping it is [`Self::shut_down`].
pub struct Batcher<E: BatchEngine> {
    queue: Arc<Queue<E::Input, E::Output>>,
    promises: Promises<E::Output>,
    workers: Vec<JoinHandle<()>>,
}

impl<E: BatchEngine> Batcher<E> {
    /// A batcher over engines, each with a thread.
    ///
    /// # Errors
    /// There is no engine, one takes no batch, an option cannot be, or a thread does not start.
    pub fn new(engines: Vec<E>, options: BatcherOptions) -> Result<Self> {
        let largest = engines.iter().map(BatchEngine::largest_batch).min().unwrap_or(0);
        if largest == 0 {
            let reason = "there must be an engine, and it must take a batch";
            return Err(Error::Request { what: "largest batch", value: 0, reason });
        }
        let promises = Promises::new(options.queue_capacity);
        let queue = Arc::new(Queue::new(options.checked(largest)?));
        let mut batcher = Self { queue, promises, workers: Vec::with_capacity(engines.len()) };
        for engine in engines {
            batcher.workers.push(worker::start(engine, Arc::clone(&batcher.queue))?);
        }
        Ok(batcher)
    }

    /// Queues a request. The response is a future, and can be waited for without one.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::ShutDown`]; nothing was queued then.
    pub fn submit(&self, input: E::Input) -> Result<Response<E::Output>> {
        self.submit_before(input, None)
    }

    /// Queues a request whose answer is worth something for `within` only.
    ///
    /// # Errors
    /// As for [`Self::submit`]; a deadline that passes is the response's error.
    pub fn submit_within(&self, input: E::Input, within: Duration) -> Result<Response<E::Output>> {
        self.submit_before(input, Some(within))
    }

    fn submit_before(&self, input: E::Input, within: Option<Duration>) -> Result<Response<E::Output>> {
        let (reply, response) = self.promises.pair();
        self.queue.push(self.request(input, within, reply))?;
        Ok(response)
    }

    /// Queues a request, and waits for room as long as there is none.
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub fn submit_when_room(&self, input: E::Input) -> Result<Response<E::Output>> {
        let (reply, response) = self.promises.pair();
        self.queue.push_when_room(self.request(input, None, reply))?;
        Ok(response)
    }

    /// Queues a request that is answered by a call of `answer`, on a thread of the batcher: it must be short.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::ShutDown`]; `answer` is not called then.
    pub fn submit_with(
        &self,
        input: E::Input,
        within: Option<Duration>,
        answer: impl FnOnce(Result<E::Output>) + Send + 'static,
    ) -> Result<()> {
        self.queue.push(self.request(input, within, Reply::callback(Box::new(answer))))
    }

    fn request(
        &self,
        input: E::Input,
        within: Option<Duration>,
        reply: Reply<E::Output>,
    ) -> Request<E::Input, E::Output> {
        let arrived = self.queue.now();
        Request { input, arrived, deadline: within.map(|within| arrived.saturating_add(within)), reply }
    }

    /// Requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// What it has done.
    #[must_use]
    pub fn statistics(&self) -> BatcherStatistics {
        self.queue.statistics()
    }

    /// Ends it: what runs is finished and answered, what waits is answered with [`Error::ShutDown`].
    pub fn shut_down(mut self) {
        self.end(false);
    }

    /// Lets nothing more in, runs what waits, and ends.
    pub fn finish(mut self) {
        self.end(true);
    }

    fn end(&mut self, run_what_waits: bool) {
        self.queue.close(run_what_waits);
        for worker in self.workers.drain(..) {
            // A worker catches every panic of what it calls.
            let _ = worker.join();
        }
        self.queue.refuse_waiting();
    }
}

impl<E: BatchEngine> Drop for Batcher<E> {
    fn drop(&mut self) {
        self.end(false);
    }
}
