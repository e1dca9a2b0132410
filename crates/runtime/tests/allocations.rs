//! No inference allocates: every allocation of this program is counted, on all threads. What ONNX Runtime takes from the
//! C library by itself is not seen here.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use trtforge_runtime::monitor::{MeetingPlace, Monitor, MonitorOptions, OwnSource};
use trtforge_runtime::{
    BatchEngine, Batcher, BatcherOptions, Call, ElementType, Engine, Function, Request, Response, Result, Sample,
    Session, SessionEngine, Shape, Signature, TensorInfo,
};

/// Often enough that an allocation per run stands out, and quick.
const ROUNDS: u64 = 20;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Tests count what the whole process does, so one runs at a time.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: passes everything on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations while `work` is done [`ROUNDS`] times, after once for warming up.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    (0..ROUNDS).for_each(|_| work());
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

struct Sum;

impl Function for Sum {
    fn signature(&self) -> Signature {
        Signature {
            inputs: vec![TensorInfo::batched("x", ElementType::Float32, &[8])],
            outputs: vec![TensorInfo::batched("y", ElementType::Float32, &[1])],
            profiles: Vec::new(),
        }
    }

    fn activation_bytes(&self, _: &[Shape]) -> u64 {
        64
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let x = call.inputs.get::<f32>(0).unwrap_or_default();
        let rows = call.outputs.get::<f32>(0).unwrap_or_default();
        rows.iter_mut().zip(x.chunks(8)).for_each(|(y, row)| *y = row.iter().sum());
        Ok(())
    }
}

fn every_way_of_running(session: &mut Session, input: &str, output: &str) {
    let count = allocations(|| {
        session.input::<f32>(input).unwrap()[0] += 1.0;
        session.run().unwrap();
        assert!(!session.output::<f32>(output).unwrap().is_empty());
    });
    assert_eq!(count, 0, "run");
    let slots = session.slots();
    let mut tickets = Vec::with_capacity(slots);
    let count = allocations(|| {
        for slot in 0..slots {
            let mut slot = session.slot(slot).unwrap();
            slot.input::<f32>(input).unwrap()[0] += 1.0;
            tickets.push(slot.submit().unwrap());
        }
        tickets.drain(..).for_each(|ticket| session.wait(ticket).unwrap());
    });
    assert_eq!(count, 0, "submit and wait");
}

#[test]
fn an_allocation_is_noticed() {
    let _turn = TURN.lock();
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))), ROUNDS);
    let elsewhere = || std::thread::scope(|scope| drop(scope.spawn(|| drop(std::hint::black_box(vec![1u8; 100])))));
    assert!(allocations(elsewhere) >= 2 * ROUNDS, "threads are counted too");
}

#[test]
fn a_function_runs_without_allocating_at_any_batch() {
    let _turn = TURN.lock();
    let engine = Engine::function("sum", Sum).unwrap();
    let mut session = engine.session(Request::batch(4).slots(3).into()).unwrap();
    every_way_of_running(&mut session, "x", "y");
    let mut batch = 0;
    let count = allocations(|| {
        batch = batch % 4 + 1;
        session.set_batch(batch).unwrap();
        session.run().unwrap();
        assert_eq!(session.output::<f32>("y").unwrap().len() as u64, batch);
    });
    assert_eq!(count, 0, "changing the batch");
}

/// Requests under way at a time.
const UNDER_WAY: usize = 8;

fn prompt() -> BatcherOptions {
    BatcherOptions { max_delay: Duration::ZERO, ..BatcherOptions::default() }
}

/// Sends samples to and fro through a session, from buffers that are there already.
fn batched_samples(session: Session, values: usize) {
    let batcher = Batcher::new(vec![SessionEngine::new(session).unwrap()], prompt()).unwrap();
    let mut samples: Vec<Sample> = (0..UNDER_WAY).map(|_| Sample::of(&vec![1.0f32; values])).collect();
    let mut responses: Vec<Response<Sample>> = Vec::with_capacity(UNDER_WAY);
    let mut round = || {
        responses.extend(samples.drain(..).map(|sample| batcher.submit(sample).unwrap()));
        samples.extend(responses.drain(..).map(|response| {
            let mut sample = response.wait().unwrap();
            sample.tensors[0].resize(values * size_of::<f32>(), 0);
            sample
        }));
    };
    // How requests fall into batches is for the scheduler to say, so warming up takes more than one round.
    (0..ROUNDS).for_each(|_| round());
    assert_eq!(allocations(round), 0, "a sample through a batcher");
}

#[test]
fn a_batcher_allocates_nothing_for_a_request() {
    struct PlusOne;
    impl BatchEngine for PlusOne {
        type Input = u64;
        type Output = u64;
        fn largest_batch(&self) -> usize {
            UNDER_WAY
        }
        fn run(&mut self, inputs: &mut [u64], outputs: &mut Vec<Result<u64>>) -> Result<()> {
            outputs.extend(inputs.iter().map(|input| Ok(input + 1)));
            Ok(())
        }
    }
    static ANSWERED: AtomicU64 = AtomicU64::new(0);
    let _turn = TURN.lock();
    let batcher = Batcher::new(vec![PlusOne], prompt()).unwrap();
    let mut responses: Vec<Response<u64>> = Vec::with_capacity(UNDER_WAY);
    let mut round = || {
        responses.extend((0..UNDER_WAY as u64).map(|input| batcher.submit(input).unwrap()));
        responses.drain(..).zip(1..).for_each(|(response, answer)| assert_eq!(response.wait().unwrap(), answer));
        let before = ANSWERED.load(Ordering::Acquire);
        // A function that captures nothing takes no memory as a callback either.
        let answer = |answer: Result<u64>| _ = ANSWERED.fetch_add(answer.unwrap(), Ordering::Release);
        batcher.submit_with(1, Some(Duration::from_secs(3600)), answer).unwrap();
        while ANSWERED.load(Ordering::Acquire) == before {
            std::thread::yield_now();
        }
    };
    (0..ROUNDS).for_each(|_| round());
    assert_eq!(allocations(round), 0, "a request");
}

#[test]
fn a_function_behind_a_batcher_allocates_nothing_for_a_sample() {
    let _turn = TURN.lock();
    let engine = Engine::function("sum", Sum).unwrap();
    batched_samples(engine.session(Request::batch(4).into()).unwrap(), 8);
}

#[cfg(feature = "onnx")]
fn models() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("TRTFORGE_TEST_DATA").map(std::path::PathBuf::from);
    if folder.is_none() {
        assert!(std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none(), "TRTFORGE_TEST_DATA is not set");
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
    }
    folder.map(|folder| folder.join("models"))
}

#[cfg(feature = "onnx")]
#[test]
fn a_model_behind_a_batcher_allocates_nothing_for_a_sample() {
    let _turn = TURN.lock();
    let Some(folder) = models() else { return };
    let engine = Engine::open(folder.join("mnist_winml.onnx")).unwrap();
    batched_samples(engine.session(Request::default().into()).unwrap(), 784);
}

#[cfg(feature = "bench")]
#[test]
fn measuring_allocates_nothing_and_sees_what_the_engine_allocates() {
    use std::time::Duration;
    use trtforge_runtime::bench::{Closed, Settings, closed};

    struct Wasteful;
    impl Function for Wasteful {
        fn signature(&self) -> Signature {
            Sum.signature()
        }
        fn run(&self, _: Call<'_>) -> Result<()> {
            drop(std::hint::black_box(vec![1u8; 100]));
            Ok(())
        }
    }
    let _turn = TURN.lock();
    let counter = || ALLOCATIONS.load(Ordering::SeqCst);
    let (duration, warm_up) = (Duration::from_millis(20), Duration::from_millis(10));
    let settings = Settings { duration, warm_up, allocations: Some(counter), ..Settings::default() };
    let asked = Closed { streams: 2, ..Closed::default() };
    let per_inference = |engine: Engine| closed(&engine, &asked, &settings).unwrap().memory.host_alloc_per_inf.unwrap();
    assert_eq!(per_inference(Engine::function("sum", Sum).unwrap()), 0.0);
    let wasteful = per_inference(Engine::function("wasteful", Wasteful).unwrap());
    // Runs under way at either end are counted on one side only.
    assert!((0.9..1.1).contains(&wasteful), "{wasteful}");
}

#[test]
fn samples_are_taken_and_shown_without_allocating() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().unwrap();
    let shown = Some(MeetingPlace::at(folder.path().join("place")));
    let interval = Duration::from_millis(1);
    let options = MonitorOptions { interval, buckets: 16, shown, ..MonitorOptions::default() };
    let engine = Engine::function("sum", Sum).unwrap();
    let mut session = engine.session(Request::batch(2).into()).unwrap();
    let monitor = Monitor::start("sums", OwnSource::engine(&engine).unwrap(), options).unwrap();
    let counters = monitor.counters();
    monitor.mark("begun");
    let count = allocations(|| {
        let since = monitor.latest().map(|sample| sample.at);
        while monitor.latest().map(|sample| sample.at) == since {
            session.run().unwrap();
            counters.ran(2);
        }
    });
    let recording = monitor.finish();
    assert!(recording.faults.first.is_none() && recording.unpublished.first.is_none(), "{:?}", recording.notes());
    assert!(recording.samples() > ROUNDS);
    assert_eq!(count, 0);
}

#[cfg(feature = "onnx")]
#[test]
fn a_model_runs_without_allocating() {
    let _turn = TURN.lock();
    let Some(folder) = models() else { return };
    let engine = Engine::open(folder.join("mnist_winml.onnx")).unwrap();
    let mut session = engine.session(Request::default().slots(2).into()).unwrap();
    every_way_of_running(&mut session, "Input3", "Plus214_Output_0");
    let engine = Engine::open(folder.join("superres_10.onnx")).unwrap();
    let mut session = engine.session(Request::batch(2).into()).unwrap();
    let mut batch = 0;
    let count = allocations(|| {
        batch = batch % 2 + 1;
        session.set_batch(batch).unwrap();
        session.run().unwrap();
    });
    assert_eq!(count, 0, "changing the batch");
}
