//! A thread that runs batches on one engine. It outlives whatever the engine or a callback does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BatchEngine;
use super::queue::{Queue, Request};
use super::response::Reply;
use crate::engine::function::panicked;
use crate::error::{Error, Result};
use crate::sync::thread::{Builder, JoinHandle};

/// Starts the thread of `engine`.
pub(super) fn start<E: BatchEngine>(engine: E, queue: Arc<Queue<E::Input, E::Output>>) -> Result<JoinHandle<()>> {
    let spawned = Builder::new().name("trtforge-batcher".to_owned()).spawn(move || work(engine, &queue));
    spawned.map_err(|error| Error::Device {
        device: "host".to_owned(),
        call: "start of a thread",
        reason: error.to_string(),
    })
}

/// Lists that are used again and again, so that a batch allocates nothing.
struct Lists<I, O> {
    batch: Vec<Request<I, O>>,
    expired: Vec<Request<I, O>>,
    inputs: Vec<I>,
    waiting: Vec<Waiting<O>>,
    outputs: Vec<Result<O>>,
}

/// A request whose input is with the engine.
struct Waiting<O> {
    arrived: Duration,
    deadline: Option<Duration>,
    reply: Reply<O>,
}

fn work<E: BatchEngine>(mut engine: E, queue: &Queue<E::Input, E::Output>) {
    let mut lists = Lists { batch: vec![], expired: vec![], inputs: vec![], waiting: vec![], outputs: vec![] };
    while queue.next(&mut lists.batch, &mut lists.expired) {
        if !lists.expired.is_empty() {
            expire(queue, &mut lists.expired);
        }
        if !lists.batch.is_empty() {
            run(&mut engine, queue, &mut lists);
        }
    }
}

fn expire<I, O>(queue: &Queue<I, O>, expired: &mut Vec<Request<I, O>>) {
    let (now, count) = (queue.now(), expired.len() as u64);
    queue.record(|statistics, _| statistics.expired += count);
    let answers = expired.drain(..).map(|Request { deadline, reply, .. }| {
        let late = now.saturating_sub(deadline.unwrap_or(now));
        (reply, Err(Error::DeadlinePassed { executed: false, late }))
    });
    give(queue, answers);
}

fn run<E: BatchEngine>(engine: &mut E, queue: &Queue<E::Input, E::Output>, lists: &mut Lists<E::Input, E::Output>) {
    let Lists { batch, inputs, waiting, outputs, .. } = lists;
    let size = batch.len();
    for Request { input, arrived, deadline, reply } in batch.drain(..) {
        inputs.push(input);
        waiting.push(Waiting { arrived, deadline, reply });
    }
    let start = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| engine.run(inputs, outputs)));
    let ran = ran.unwrap_or_else(|panic| Err(panicked("the batch engine", &*panic)));
    let took = start.elapsed();
    match ran {
        Err(error) if error.is_out_of_memory() => {
            outputs.clear();
            queue.record(|statistics, tuner| {
                statistics.batches += 1;
                statistics.out_of_memory += 1;
                tuner.ran_out(size);
            });
            if size > 1 {
                let pairs = inputs.drain(..).zip(waiting.drain(..));
                batch.extend(pairs.map(|(input, Waiting { arrived, deadline, reply })| Request {
                    input,
                    arrived,
                    deadline,
                    reply,
                }));
                queue.put_back(batch);
                return;
            }
            inputs.clear();
            fail(queue, waiting, error);
        }
        Err(error) => {
            outputs.clear();
            inputs.clear();
            queue.record(|statistics, _| statistics.batches += 1);
            fail(queue, waiting, error);
        }
        Ok(()) => {
            inputs.clear();
            let bytes = engine.memory_bytes();
            queue.record(|statistics, tuner| {
                statistics.batches += 1;
                tuner.succeeded(size, took, bytes);
            });
            answer(queue, waiting, outputs);
        }
    }
}

/// Gives each request of a batch the engine's error.
fn fail<I, O>(queue: &Queue<I, O>, waiting: &mut Vec<Waiting<O>>, error: Error) {
    let (batch, source) = (waiting.len(), Arc::new(error));
    queue.record(|statistics, _| statistics.failed += batch as u64);
    let answers = waiting.drain(..).map(|it| (it.reply, Err(Error::Batch { batch, source: Arc::clone(&source) })));
    give(queue, answers);
}

/// Gives each request its output.
fn answer<I, O>(queue: &Queue<I, O>, waiting: &mut Vec<Waiting<O>>, outputs: &mut Vec<Result<O>>) {
    let now = queue.now();
    let (mut succeeded, mut failed, mut expired) = (0, 0, 0);
    let (given, wanted) = (outputs.len(), waiting.len());
    let missing = || Err(Error::Run { reason: format!("the engine gave {given} answers to {wanted} requests") });
    outputs.resize_with(wanted, missing);
    for (waiting, output) in waiting.iter().zip(outputs.iter_mut()) {
        let late = waiting.deadline.map_or(Duration::ZERO, |deadline| now.saturating_sub(deadline));
        match output {
            Err(_) => failed += 1,
            Ok(_) if late.is_zero() => succeeded += 1,
            Ok(_) => {
                expired += 1;
                *output = Err(Error::DeadlinePassed { executed: true, late });
            }
        }
    }
    queue.record(|statistics, _| {
        statistics.succeeded += succeeded;
        statistics.failed += failed;
        statistics.expired += expired;
    });
    give(queue, waiting.drain(..).map(|it| it.reply).zip(outputs.drain(..)));
}

/// Gives answers that were counted before: whoever has one finds it in the statistics.
fn give<I, O>(queue: &Queue<I, O>, answers: impl Iterator<Item = (Reply<O>, Result<O>)>) {
    let panics = answers.filter_map(|(reply, answer)| (!reply.give(answer)).then_some(())).count() as u64;
    if panics > 0 {
        queue.record(|statistics, _| statistics.callback_panics += panics);
    }
}
