//! Planned memory against what the GPU says, and what happens when there is none left.

use std::path::Path;

use trtforge_runtime::device::Cuda;
use trtforge_runtime::{Class, Device, Engine, Error, Request, Result, SessionOptions, gib, mib};

use super::report::{Check, Subject};

/// Share of the plan by which the device may differ from it.
const TOLERANCE: f64 = 0.02;
/// What is allocated to compare, at least: the driver gives memory in steps of 2 MiB.
const COMPARED_BYTES: u64 = gib(1);
/// Most slots of a session made to compare.
const MOST_SLOTS: u64 = 64;
/// Step in which the device is filled.
const FILLER_BYTES: u64 = mib(64);

/// Device memory that goes from before the engine is loaded until a session of many slots has run, against the plan.
pub fn planned(path: &Path, gpu: &Cuda) -> Result<Vec<Check>> {
    // Loaded and run once before: what the driver and TensorRT keep for the process is not the engine's.
    run_all(&Engine::open(path)?, 1)?;
    let before = gpu.memory_info()?.free_bytes;
    let engine = Engine::open(path)?;
    let one = engine.plan(&Request::default())?;
    let own = (one.device_bytes() - one[Class::Weights]).max(1);
    let slots = COMPARED_BYTES.div_ceil(own).clamp(1, MOST_SLOTS) as usize;
    let plan = engine.plan(&Request::default().slots(slots))?;
    let session = run_all(&engine, slots)?;
    let measured = before.saturating_sub(gpu.memory_info()?.free_bytes);
    let agrees = session.plan() == plan && engine.ledger().held() == plan;
    let of = |name| Subject { engine: engine.name(), name };
    let off = (measured as f64 / plan.device_bytes() as f64 - 1.0).abs();
    Ok(vec![
        of("slots of the session compared").told(slots),
        of("device bytes planned").told(plan.device_bytes()),
        of("device bytes measured").told(measured),
        of("share by which they differ").at_most(off, TOLERANCE),
        of("plan, session and ledger agree").equal(agrees, true),
    ])
}

fn run_all(engine: &Engine, slots: usize) -> Result<trtforge_runtime::Session> {
    let mut session = engine.session(Request::default().slots(slots).into())?;
    (0..slots).try_for_each(|slot| session.slot(slot)?.run())?;
    Ok(session)
}

/// A budget that is a byte short refuses and takes nothing; exactly enough is enough.
pub fn budget(engine: &Engine, free_bytes: impl Fn() -> Result<u64>) -> Result<Vec<Check>> {
    let plan = engine.plan(&Request::default())?;
    let with = |budget| SessionOptions { budget_bytes: Some(budget), ..SessionOptions::default() };
    let before = free_bytes()?;
    let refused = matches!(engine.session(with(plan.device_bytes() - 1)), Err(Error::OverBudget(_)));
    let after = free_bytes()?;
    let fits = engine.session(with(plan.device_bytes())).is_ok();
    let of = |name| Subject { engine: engine.name(), name };
    Ok(vec![
        of("a budget a byte short refuses").equal(refused, true),
        of("device bytes that a refusal takes").equal(before.saturating_sub(after), 0),
        of("a budget of exactly the plan is enough").equal(fits, true),
    ])
}

/// A device that is full gives a typed error, after which everything is as before and the engine runs.
pub fn full(engine: &Engine, gpu: &Cuda) -> Result<Vec<Check>> {
    let plan = engine.plan(&Request::default())?;
    let held = engine.ledger().held();
    let mut filler = Vec::new();
    for bytes in [FILLER_BYTES, mib(2)] {
        while let Ok(block) = gpu.allocate(Class::Io, bytes) {
            filler.push(block);
        }
    }
    let own = plan.device_bytes() - plan[Class::Weights];
    let slots = mib(8).div_ceil(own.max(1)).clamp(1, MOST_SLOTS) as usize;
    let refused = match engine.session(Request::default().slots(slots).into()) {
        Ok(_) => "a session".to_owned(),
        Err(error) if error.is_out_of_memory() => "out of memory".to_owned(),
        Err(other) => other.to_string(),
    };
    drop(filler);
    let as_before = engine.ledger().held() == held;
    let runs = run_all(engine, 1).map_or_else(|error| error.to_string(), |_| "runs".to_owned());
    let of = |name| Subject { engine: engine.name(), name };
    Ok(vec![
        of("a session on a full device").equal(refused, "out of memory"),
        of("the ledger is as before").equal(as_before, true),
        of("a session afterwards").equal(runs, "runs"),
    ])
}
