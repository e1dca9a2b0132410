//! What sessions, the batcher and a monitor cost beside the engine: an engine that does nothing, and a small model run directly,
//! in a session, and watched.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trtforge_graph::Model;
use trtforge_onnxruntime::{Binding, Buffer, IoInfo, OnnxRuntime, SessionConfig, SharedSession};
use trtforge_runtime::monitor::{MeetingPlace, Monitor, MonitorOptions, OwnSource};
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

struct AddOne;

impl BatchEngine for AddOne {
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

/// Four of them are a small number.
const FILLING: u8 = 0x3c;

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
}

/// Runs of a model by ONNX Runtime directly and in a session, in turns, so that both meet the same machine; the median
/// of the differences is the overhead. Criterion, which measures one after the other, sees less than a drifting clock adds.
fn models(_: &mut Criterion) {
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else { return };
    println!("{:<20} {:>12} {:>12} {:>12} {:>10}", "model", "directly", "in a session", "overhead", "share");
    for (file, pairs) in [("mnist_winml.onnx", 20_000), ("yolox_nano_416.onnx", 300)] {
        let path = PathBuf::from(&folder).join("models").join(file);
        let (mut direct, mut session) =
            (bound(&path), Engine::open(&path).unwrap().session(Request::default().into()).unwrap());
        let name = session.engine().signature().inputs[0].name.clone();
        session.input::<f32>(&name).unwrap().fill(f32::from_ne_bytes([FILLING; 4]));
        let mut pair = |first: bool| {
            let mut seconds = [0.0; 2];
            for place in if first { [0, 1] } else { [1, 0] } {
                let start = Instant::now();
                if place == 0 {
                    direct.run().unwrap()
                } else {
                    session.run().unwrap()
                }
                seconds[place] = start.elapsed().as_secs_f64();
            }
            seconds
        };
        for _ in 0..pairs / 10 {
            pair(true);
        }
        let seconds: Vec<[f64; 2]> = (0..pairs).map(|number| pair(number % 2 == 0)).collect();
        let median = |of: fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = seconds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (alone, within, more) = (median(|it| it[0]), median(|it| it[1]), median(|it| it[1] - it[0]));
        let micro = |seconds: f64| format!("{:.1} us", 1e6 * seconds);
        println!(
            "{file:<20} {:>12} {:>12} {:>12} {:>8.2} %",
            micro(alone),
            micro(within),
            micro(more),
            100.0 * more / alone
        );
    }
}

/// A model of fixed shapes bound to blocks of its own. They are written to: memory that never was is one page of zeros, read
/// from the nearest cache.
fn bound(path: &Path) -> Binding<Block> {
    let session = OnnxRuntime::load().unwrap().session(&Model::read(path).unwrap(), &SessionConfig::default()).unwrap();
    let block = |info: &IoInfo| {
        let shape = info.ty.fixed_shape().unwrap();
        (
            Block(vec![FILLING; shape.iter().product::<u64>() as usize * 4]),
            shape.iter().map(|&size| size as i64).collect(),
        )
    };
    let inputs = session.inputs().iter().map(block).collect();
    let outputs = session.outputs().iter().map(|info| Some(block(info))).collect();
    SharedSession::new(session).bind(inputs, outputs).unwrap()
}

/// Throughput of a session that is watched each 100 ms, and shown to other processes, beside that of one that is not, in
/// turns; the median of what is lost.
fn monitor(_: &mut Criterion) {
    const TURNS: usize = 41;
    const WINDOW: Duration = Duration::from_millis(1000);
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else { return };
    println!("{:<20} {:>14} {:>14} {:>10}", "model", "alone", "watched", "lost");
    for file in ["mnist_winml.onnx", "yolox_nano_416.onnx"] {
        let engine = Engine::open(PathBuf::from(&folder).join("models").join(file)).unwrap();
        let mut session = engine.session(Request::default().into()).unwrap();
        let mut rate = |watched: bool| {
            let options = MonitorOptions { shown: MeetingPlace::of_user().ok(), ..MonitorOptions::default() };
            let monitor =
                watched.then(|| Monitor::start("bench", OwnSource::engine(&engine).unwrap(), options).unwrap());
            let counters = monitor.as_ref().map(Monitor::counters);
            let (start, mut runs) = (Instant::now(), 0u32);
            while start.elapsed() < WINDOW {
                session.run().unwrap();
                counters.iter().for_each(|counters| counters.ran(1));
                runs += 1;
            }
            f64::from(runs) / start.elapsed().as_secs_f64()
        };
        rate(true);
        let mut turns: Vec<[f64; 2]> = Vec::new();
        for turn in 0..TURNS {
            let first = turn % 2 == 0;
            let (one, other) = (rate(first), rate(!first));
            turns.push(if first { [other, one] } else { [one, other] });
        }
        let median = |of: fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = turns.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (alone, watched, lost) = (median(|it| it[0]), median(|it| it[1]), median(|it| 1.0 - it[1] / it[0]));
        println!("{file:<20} {alone:>12.1}/s {watched:>12.1}/s {:>8.2} %", 100.0 * lost);
    }
}

fn batcher(criterion: &mut Criterion) {
    const REQUESTS: u64 = 100_000;
    let mut group = criterion.benchmark_group("batcher");
    group.throughput(Throughput::Elements(REQUESTS)).sample_size(10);
    let options = BatcherOptions { queue_capacity: 4096, ..BatcherOptions::default() };
    let callbacks = Batcher::new(vec![AddOne], options.clone()).unwrap();
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
    let futures = Batcher::new(vec![AddOne], options).unwrap();
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
    let alone = Batcher::new(vec![AddOne], options).unwrap();
    group.bench_function("one request, no delay", |bencher| bencher.iter(|| alone.submit(1).unwrap().wait().unwrap()));
}

criterion_group!(benches, sessions, batcher, models, monitor);
criterion_main!(benches);
