//! A budget: a session that does not fit is refused before a byte is allocated, and the refusal says what would fit.
//!
//!     cargo run --release --package trtforge-runtime --example budgeted -- assets/detector/detector.onnx

mod support;

use std::path::Path;
use std::process::ExitCode;

use trtforge_runtime::{Budget, Class, Engine, Error, Request, Result};

fn main() -> ExitCode {
    support::with_model(run)
}

fn run(model: &Path) -> Result<()> {
    let engine = Engine::open(model)?;
    // Room for the weights, and for two and a half of the smallest session there is.
    let smallest = engine.plan(&Request::default())?;
    let own = smallest.device_bytes() - smallest[Class::Weights];
    let budget = smallest[Class::Weights] + 5 * own / 2;
    engine.ledger().set_budget(Budget::device(budget));
    println!("{} may take {budget} bytes of {}", engine.name(), engine.device());

    let mut size = 16;
    let mut session = loop {
        match engine.session(request(&engine, size).into()) {
            Ok(session) => break session,
            Err(error @ Error::OverBudget(_)) if size > 1 => {
                tell(size, &error);
                size /= 2;
            }
            Err(other) => return Err(other),
        }
    };
    println!("{size} fits:\n{}", session.plan());
    let mut slot = session.slot(0)?;
    support::fill(&mut slot, &engine.signature().inputs)?;
    slot.run()
}

/// A batch of `size`, or that many slots where the model fixes the batch.
fn request(engine: &Engine, size: u64) -> Request {
    let batch = Request::batch(size);
    if engine.plan(&batch).is_ok() { batch } else { Request::default().slots(size as usize) }
}

fn tell(size: u64, error: &Error) {
    let Error::OverBudget(refusal) = error else { return };
    println!("{size} refused: need {}, have {} of {}", refusal.need_bytes, refusal.have_bytes, refusal.limit_bytes);
    refusal.holders.iter().for_each(|it| println!("  {} holds {} bytes for {}", it.owner, it.bytes, it.class));
    println!("  hint: {}", refusal.hint());
}
