//! Several clients ask one after another; a batcher runs what waits together, in one session.
//!
//!     cargo run --release --package trtforge-runtime --example batched_server -- assets/detector/detector.onnx

mod support;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use trtforge_runtime::{
    Batcher, BatcherOptions, Engine, Error, Request, Result, Sample, Session, SessionEngine, TensorInfo,
};

const CLIENTS: usize = 4;
const REQUESTS_EACH: usize = 25;
/// Largest batch, where the model leaves it open.
const LARGEST_BATCH: u64 = 4;

fn main() -> ExitCode {
    support::with_model(run)
}

fn run(model: &Path) -> Result<()> {
    let engine = Engine::open(model)?;
    let mut session = engine.session(request(&engine)?.into())?;
    println!("one session for all:\n{}", session.plan());
    let sample = sample(&mut session)?;
    let server = SessionEngine::new(session)?;
    let options = BatcherOptions { max_delay: Duration::from_millis(1), queue_capacity: 64, ..Default::default() };
    let batcher = Batcher::new(vec![server], options)?;

    let answered = AtomicUsize::new(0);
    let client = || -> Result<()> {
        for _ in 0..REQUESTS_EACH {
            // A client that finds the queue full waits here for room; `submit` would tell it at once.
            let answer = batcher.submit_when_room(sample.clone())?.wait()?;
            answered.fetch_add(usize::from(!answer.tensors.is_empty()), Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or(Err(Error::ShutDown)))
    })?;

    let statistics = batcher.statistics();
    batcher.finish();
    println!("{} answers to {} requests in {} batches", answered.into_inner(), statistics.accepted, statistics.batches);
    println!("{statistics:#?}");
    Ok(())
}

/// One request's part of each input.
fn sample(session: &mut Session) -> Result<Sample> {
    let engine = session.engine().clone();
    let slot = session.slot(0)?;
    let part = |input: &TensorInfo| {
        let shape = slot.input_shape(&input.name)?;
        let batch = shape.first().copied().unwrap_or(1).max(1);
        Ok(support::ramp(input, (input.bytes_at(&shape).unwrap_or(0) / batch) as usize))
    };
    Ok(Sample { tensors: engine.signature().inputs.iter().map(part).collect::<Result<_>>()? })
}

/// A batch where the model leaves it open, else what the model fixes.
fn request(engine: &Engine) -> Result<Request> {
    let request = Request::batch(LARGEST_BATCH);
    match engine.plan(&request) {
        Ok(_) => Ok(request),
        Err(Error::OutsideProfiles { .. }) => Ok(Request::default()),
        Err(other) => Err(other),
    }
}
