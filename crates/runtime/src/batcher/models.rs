//! Every order in which askers, workers and the end may come, tried by loom on small cases. What would be a deadlock, a
//! lost wake-up or a second answer fails here.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use loom::thread;

use super::response::Promises;
use super::{BatchEngine, Batcher, BatcherOptions};
use crate::error::{Error, Result};

struct PlusOne {
    largest: usize,
}

impl BatchEngine for PlusOne {
    type Input = u64;
    type Output = u64;

    fn largest_batch(&self) -> usize {
        self.largest
    }

    fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
        outputs.extend(inputs.iter().map(|input| Ok(input + 1)));
        Ok(())
    }
}

/// All orders with at most that many switches that no thread asked for.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Runs each request by itself, so that no measured time decides anything.
fn batcher(workers: usize, queue_capacity: usize) -> Batcher<PlusOne> {
    let options = BatcherOptions { max_delay: Duration::ZERO, queue_capacity, ..BatcherOptions::default() };
    Batcher::new((0..workers).map(|_| PlusOne { largest: 1 }).collect(), options).unwrap()
}

#[test]
fn an_answer_reaches_whoever_waits_and_its_promise_serves_again() {
    model(3, || {
        let promises = Promises::new(1);
        for answer in [1, 2] {
            let (reply, response) = promises.pair();
            let giver = thread::spawn(move || reply.give(Ok(answer)));
            assert_eq!(response.wait().unwrap(), answer);
            assert!(giver.join().unwrap());
        }
    });
}

#[test]
fn a_promise_serves_the_next_request_while_the_last_giver_still_wakes() {
    model(3, || {
        let promises = Promises::new(1);
        let (reply, response) = promises.pair();
        let first = thread::spawn(move || reply.give(Ok(1)));
        assert_eq!(response.wait().unwrap(), 1);
        let (reply, response) = promises.pair();
        let second = thread::spawn(move || reply.give(Ok(2)));
        assert_eq!(response.wait().unwrap(), 2);
        assert!(first.join().unwrap() && second.join().unwrap());
    });
}

#[test]
fn a_future_is_woken_and_a_reply_that_goes_unanswered_says_so() {
    model(3, || {
        let promises = Promises::<u64>::new(2);
        let (reply, response) = promises.pair();
        let giver = thread::spawn(move || reply.give(Ok(7)));
        assert_eq!(loom::future::block_on(response).unwrap(), 7);
        giver.join().unwrap();
        let (reply, response) = promises.pair();
        let giver = thread::spawn(move || drop(reply));
        assert!(matches!(loom::future::block_on(response), Err(Error::ShutDown)));
        giver.join().unwrap();
    });
}

#[test]
fn a_response_may_go_while_its_answer_comes() {
    model(3, || {
        let promises = Promises::new(1);
        let (reply, response) = promises.pair();
        let alive = Arc::new(());
        let answer = Arc::clone(&alive);
        let giver = thread::spawn(move || reply.give(Ok(answer)));
        drop(response);
        assert!(giver.join().unwrap());
        assert_eq!(Arc::strong_count(&alive), 1, "the answer went");
        let (reply, response) = promises.pair();
        assert!(!response.is_ready(), "nothing of it is left for the next request");
        reply.forget();
    });
}

#[test]
fn requests_of_two_askers_are_answered() {
    model(2, || {
        let batcher = Arc::new(batcher(1, 2));
        let theirs = Arc::clone(&batcher);
        let other = thread::spawn(move || theirs.submit(10).unwrap().wait().unwrap());
        assert_eq!(batcher.submit(1).unwrap().wait().unwrap(), 2);
        assert_eq!(other.join().unwrap(), 11);
    });
}

#[test]
fn two_workers_sleep_through_no_request() {
    model(2, || {
        let batcher = batcher(2, 2);
        let responses = [batcher.submit(1).unwrap(), batcher.submit(2).unwrap()];
        let answers = responses.map(|response| response.wait().unwrap());
        assert_eq!(answers, [2, 3]);
        batcher.finish();
    });
}

#[test]
fn whoever_waits_for_room_gets_it() {
    model(2, || {
        let batcher = batcher(1, 1);
        let responses = [1, 2, 3].map(|input| batcher.submit_when_room(input).unwrap());
        assert_eq!(responses.map(|response| response.wait().unwrap()), [2, 3, 4]);
    });
}

#[test]
fn the_end_answers_each_request_once() {
    for finish in [true, false] {
        model(2, move || {
            let answered = Arc::new(AtomicU64::new(0));
            let batcher = batcher(1, 2);
            let seen = Arc::clone(&answered);
            let waits = batcher.submit(1).unwrap();
            batcher.submit_with(2, None, move |_| _ = seen.fetch_add(1, Ordering::SeqCst)).unwrap();
            if finish {
                batcher.finish()
            } else {
                batcher.shut_down()
            }
            match waits.wait() {
                Ok(answer) => assert_eq!(answer, 2),
                Err(error) => assert!(!finish && matches!(error, Error::ShutDown)),
            }
            assert_eq!(answered.load(Ordering::SeqCst), 1);
        });
    }
}
