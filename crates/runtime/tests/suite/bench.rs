//! Measurements on real sessions. No figure of time is held to anything.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use trtforge_runtime::bench::{self, Closed, Loop, Open, QUANTILES, Run, Settings, Stage};
use trtforge_runtime::{Engine, Error, Shape};

use crate::functions::{Many, double, engine};

const SHORT: Settings<'static> = Settings {
    duration: Duration::from_millis(30),
    warm_up: Duration::from_millis(20),
    seed: 3,
    allocations: None,
    counters: None,
    tell: &|_| {},
};

fn closed(engine: &Engine, batch: u64, streams: usize) -> Run {
    bench::closed(engine, &Closed { batch: Some(batch), streams, ..Closed::default() }, &SHORT).unwrap()
}

/// What must hold of every measurement.
fn check(run: &Run) {
    let latency = run.latency_us.as_ref().unwrap();
    let order = [latency.p50, latency.p90, latency.p95, latency.p99, latency.max];
    assert!(order.is_sorted() && latency.p50 > 0.0, "{latency:?}");
    assert_eq!(latency.distribution.len(), QUANTILES.len());
    assert!(latency.distribution.is_sorted(), "{latency:?}");
    assert_eq!(latency.p999.is_some(), latency.samples >= 10_000);
    let inferences = run.throughput.mean_batch * run.runs as f64;
    assert!((run.throughput.inferences_per_s * run.seconds / inferences - 1.0).abs() < 1e-9, "{run:?}");
    assert_eq!((run.throughput.per_gpu, run.clocks, run.mode.transfers), (None, None, None), "there is no GPU");
    assert_eq!(run.phases_us.h2d.as_ref().map(|copy| copy.p99), Some(0.0), "nothing is copied");
    assert!(run.phases_us.compute.as_ref().is_some_and(|compute| compute.p50 <= latency.max));
    assert!(run.memory.peak_rss.is_some_and(|bytes| bytes > 1 << 20), "{:?}", run.memory);
}

#[test]
fn a_closed_loop_keeps_its_streams_busy_and_tells_their_memory() {
    let (engine, host, ledger) = engine(double(6));
    for (batch, streams) in [(1, 1), (4, 1), (2, 3)] {
        let run = closed(&engine, batch, streams);
        check(&run);
        assert_eq!((run.mode.kind, run.mode.batch, run.mode.streams), (Loop::Closed, batch, streams));
        assert_eq!(run.shapes["x"], format!("{batch}x6"));
        assert_eq!(run.latency_us.as_ref().map(|latency| latency.samples), Some(run.runs));
        assert_eq!(run.throughput.mean_batch, batch as f64);
        let slots = streams as u64 * batch * 6 * 4;
        let memory = &run.memory;
        assert_eq!((memory.weights, memory.activation, memory.io, memory.pinned), (100, slots, 2 * slots, 0));
        assert_eq!(memory.peak_device, 100 + 3 * slots, "the peak is that of this measurement");
        assert_eq!(memory.host_alloc_per_inf, None, "nobody counts");
    }
    assert_eq!(ledger.held().total_bytes(), 100);
    drop(engine);
    assert_eq!((host.used_bytes(), host.damage()), (0, vec![]));
}

#[test]
fn an_open_loop_answers_every_request_and_gathers_some() {
    let (engine, host, _) = engine(double(6));
    let closed = Closed { batch: Some(8), streams: 2, ..Closed::default() };
    let asked = Open { closed, per_second: 2000.0, max_delay: Duration::from_millis(5) };
    let run = bench::open(&engine, &asked, &SHORT).unwrap();
    check(&run);
    let samples = run.latency_us.as_ref().map_or(0, |latency| latency.samples);
    assert_eq!((run.mode.kind, run.mode.rate_per_s, run.mode.max_delay_us), (Loop::Open, Some(2000.0), Some(5000.0)));
    let due = bench::Poisson::new(2000.0, SHORT.seed).unwrap().take_while(|time| *time <= SHORT.duration).count();
    assert_eq!((samples + run.refused, run.refused), (due as u64, 0));
    assert!(run.runs <= samples && run.throughput.mean_batch >= 1.0, "{run:?}");
    assert!(run.phases_us.enqueue.is_none(), "the batcher does that");
    drop(engine);
    assert_eq!(host.used_bytes(), 0);
}

#[test]
fn an_engine_that_is_too_slow_refuses_and_its_delay_is_counted_from_when_requests_were_due() {
    struct Slow;
    impl trtforge_runtime::Function for Slow {
        fn signature(&self) -> trtforge_runtime::Signature {
            trtforge_runtime::Function::signature(&double(1 << 20))
        }
        fn run(&self, _: trtforge_runtime::Call<'_>) -> trtforge_runtime::Result<()> {
            std::thread::sleep(Duration::from_millis(5));
            Ok(())
        }
    }
    let (engine, ..) = engine(Slow);
    let asked = Open { closed: Closed::default(), per_second: 4000.0, max_delay: Duration::ZERO };
    let settings = Settings { warm_up: Duration::ZERO, duration: Duration::from_millis(100), ..SHORT };
    let run = bench::open(&engine, &asked, &settings).unwrap();
    let latency = run.latency_us.as_ref().unwrap();
    assert!(run.refused > 0, "4 MiB each fill the queue: {run:?}");
    // Whoever is let in last waits for all before it, 5 ms each, however late it could be sent.
    assert!(latency.max >= (latency.samples as f64 - 1.0) * 5000.0 - run.seconds.min(0.1) * 1e6, "{latency:?}");
    assert_eq!(run.warm_up.stable, None);
}

#[test]
fn shapes_without_a_batch_and_stages_in_their_order() {
    let (engine, ..) = engine(Many);
    let stages = RefCell::new(Vec::new());
    let tell = |stage| stages.borrow_mut().push(stage);
    let shapes = BTreeMap::from([("picture".to_owned(), Shape::new(&[1, 3, 4, 5]).unwrap())]);
    let asked = Closed { batch: Some(2), shapes, ..Closed::default() };
    let run = bench::closed(&engine, &asked, &Settings { tell: &tell, ..SHORT }).unwrap();
    assert_eq!((run.mode.batch, run.shapes["picture"].as_str(), run.shapes["table"].as_str()), (2, "2x3x4x5", "5"));
    assert_eq!(stages.into_inner(), [Stage::WarmUp, Stage::Measure]);
}

#[test]
fn what_cannot_be_measured_is_an_error() {
    let (engine, ..) = engine(double(6));
    let refused = |asked: Closed| bench::closed(&engine, &asked, &SHORT).unwrap_err();
    assert!(matches!(refused(Closed { batch: Some(0), ..Closed::default() }), Error::Request { what: "batch", .. }));
    assert!(matches!(refused(Closed { streams: 0, ..Closed::default() }), Error::Request { what: "slots", .. }));
    assert!(matches!(refused(Closed { budget_bytes: Some(50), ..Closed::default() }), Error::OverBudget(_)));
    let shapes = BTreeMap::from([("z".to_owned(), Shape::default())]);
    assert!(matches!(refused(Closed { shapes, ..Closed::default() }), Error::UnknownTensor { .. }));
    let open = |streams, per_second| {
        let asked = Open { closed: Closed { streams, ..Closed::default() }, per_second, max_delay: Duration::ZERO };
        bench::open(&engine, &asked, &SHORT).unwrap_err()
    };
    assert!(matches!(open(0, 1.0), Error::Request { what: "streams", .. }));
    assert!(matches!(open(1, 0.0), Error::Request { what: "rate", .. }));
}
