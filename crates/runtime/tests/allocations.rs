//! No inference allocates: every allocation of this program is counted, on all threads. What ONNX Runtime takes from the
//! C library by itself is not seen here.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use trtforge_runtime::{Call, ElementType, Engine, Function, Request, Result, Session, Shape, Signature, TensorInfo};

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

#[cfg(feature = "onnx")]
#[test]
fn a_model_runs_without_allocating() {
    let _turn = TURN.lock();
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA").map(std::path::PathBuf::from) else {
        assert!(std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none(), "TRTFORGE_TEST_DATA is not set");
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return;
    };
    let engine = Engine::open(folder.join("models/mnist_winml.onnx")).unwrap();
    let mut session = engine.session(Request::default().slots(2).into()).unwrap();
    every_way_of_running(&mut session, "Input3", "Plus214_Output_0");
    let engine = Engine::open(folder.join("models/superres_10.onnx")).unwrap();
    let mut session = engine.session(Request::batch(2).into()).unwrap();
    let mut batch = 0;
    let count = allocations(|| {
        batch = batch % 2 + 1;
        session.set_batch(batch).unwrap();
        session.run().unwrap();
    });
    assert_eq!(count, 0, "changing the batch");
}
