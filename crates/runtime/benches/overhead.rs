//! What sessions and the batcher cost beside the engine: an engine that does nothing, and a small model run directly and in a
//! session.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trtforge_graph::Model;
use trtforge_onnxruntime::{Buffer, OnnxRuntime, SessionConfig, SharedSession};
use trtforge_runtime::{
    BatchEngine, Batcher, BatcherOptions, Call, ElementType, Engine, Error, Function, Request, Result, Signature,
    TensorInfo,
};

struct Nothing;

impl Function for Nothing {
    fn signature(&self) -> Signature {
        let tensor = |name| vec![TensorInfo::fixed(name, ElementType::Float32, &[16])];
        Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
    }

    fn run(&self, _: Call<'_>) -> Result<()> {
        Ok(())
    }
}

struct Instant;

impl BatchEngine for Instant {
    type Input = u64;
    type Output = u64;

    fn largest_batch(&self) -> usize {
        64
    }

    fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
        outputs.extend(inputs.iter().map(|input| Ok(input + 1)));
        Ok(())
    }
}

struct Block(Vec<u8>);

// SAFETY: the heap block of a vector that never grows stays where it is when the vector moves.
#[allow(unsafe_code)]
unsafe impl Buffer for Block {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session");
    let mut session = Engine::function("nothing", Nothing).unwrap().session(Request::default().into()).unwrap();
    group.bench_function("run of nothing", |bencher| bencher.iter(|| session.run().unwrap()));
    group.bench_function("submit and wait of nothing", |bencher| {
        bencher.iter(|| {
            let ticket = session.submit().unwrap();
            session.wait(ticket).unwrap();
        });
    });
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else { return };
    let path = PathBuf::from(folder).join("models/mnist_winml.onnx");
    let config = SessionConfig::default();
    let direct = OnnxRuntime::load().unwrap().session(&Model::read(&path).unwrap(), &config).unwrap();
    let input = (Block(vec![0; 784 * 4]), vec![1, 1, 28, 28]);
    let output = Some((Block(vec![0; 40]), vec![1, 10]));
    let mut binding = SharedSession::new(direct).bind(vec![input], vec![output]).unwrap();
    group.bench_function("digits, ONNX Runtime directly", |bencher| bencher.iter(|| binding.run().unwrap()));
    let mut session = Engine::open(&path).unwrap().session(Request::default().into()).unwrap();
    group.bench_function("digits, in a session", |bencher| bencher.iter(|| session.run().unwrap()));
}

fn batcher(criterion: &mut Criterion) {
    const REQUESTS: u64 = 100_000;
    let mut group = criterion.benchmark_group("batcher");
    group.throughput(Throughput::Elements(REQUESTS)).sample_size(10);
    let options = BatcherOptions { queue_capacity: 4096, ..BatcherOptions::default() };
    let callbacks = Batcher::new(vec![Instant], options.clone()).unwrap();
    group.bench_function("requests answered by callbacks", |bencher| {
        bencher.iter(|| {
            let answered = Arc::new(AtomicU64::new(0));
            let mut accepted = 0;
            while accepted < REQUESTS {
                let answered = Arc::clone(&answered);
                match callbacks.submit_with(accepted, None, move |_| {
                    answered.fetch_add(1, Ordering::Release);
                }) {
                    Ok(()) => accepted += 1,
                    Err(Error::QueueFull { .. }) => std::thread::yield_now(),
                    Err(other) => panic!("{other}"),
                }
            }
            while answered.load(Ordering::Acquire) < REQUESTS {
                std::thread::yield_now();
            }
        });
    });
    let futures = Batcher::new(vec![Instant], options).unwrap();
    group.bench_function("requests waited for, 256 under way", |bencher| {
        bencher.iter(|| {
            let mut pending = std::collections::VecDeque::with_capacity(256);
            for input in 0..REQUESTS {
                if pending.len() == 256 {
                    let (input, response): (u64, trtforge_runtime::Response<u64>) = pending.pop_front().unwrap();
                    assert_eq!(response.wait().unwrap(), input + 1);
                }
                pending.push_back((input, futures.submit_when_room(input).unwrap()));
            }
            pending.into_iter().for_each(|(input, response)| assert_eq!(response.wait().unwrap(), input + 1));
        });
    });
    group.throughput(Throughput::Elements(1)).sample_size(50);
    let options = BatcherOptions { max_delay: Duration::ZERO, ..BatcherOptions::default() };
    let alone = Batcher::new(vec![Instant], options).unwrap();
    group.bench_function("one request, no delay", |bencher| bencher.iter(|| alone.submit(1).unwrap().wait().unwrap()));
}

criterion_group!(benches, sessions, batcher);
criterion_main!(benches);
