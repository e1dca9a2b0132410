//! What stages cost in time: runs with all of them kept in memory, and with each loaded anew for every run.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use trtforge_builder::LaidOut;
use trtforge_runtime::bench::{Closed, Settings, closed};
use trtforge_runtime::{Budget, Engine, EngineOptions, Ledger, Request};
use trtforge_tensorrt::Device;

/// How long each is measured, at least one run.
const MEASURED: Duration = Duration::from_secs(2);
/// The longest that is run before.
const WARM_UP: Duration = Duration::from_secs(1);

/// Time of a run, the median of a few seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// What ran it.
    pub device: String,
    /// Milliseconds with everything kept in memory.
    pub kept_ms: f64,
    /// The same with one stage in memory at a time.
    pub streamed: Option<Streamed>,
}

/// Runs in the least memory that stages get by with.
#[derive(Debug, Clone, Serialize)]
pub struct Streamed {
    /// Milliseconds of a run.
    pub run_ms: f64,
    /// Weights that a run loads, in bytes.
    pub loaded_bytes: u64,
}

/// Runs what was laid out: its engines where the first GPU takes them, the models that they are made of on the CPU otherwise.
///
/// # Errors
/// What goes wrong in a run, or in writing to the folder of temporary files.
pub fn time(laid_out: &LaidOut, batch: Option<u64>) -> Result<Timed> {
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let gpu = Device::all().ok().and_then(|devices| devices.into_iter().next());
    let has_gpu = gpu.is_some_and(|gpu| gpu.unserved().is_none());
    let file = folder.path().join(if has_gpu { "network.engine" } else { "network.onnx" });
    match has_gpu {
        true => laid_out.write_engine(&file)?,
        false => laid_out.write_model(&file)?,
    }
    let asked = Closed { batch, ..Closed::default() };
    let engine = Engine::open(&file)?;
    let device = engine.device().to_owned();
    let kept_ms = milliseconds(&engine, &asked)?;
    let streamed = if laid_out.measured.stages.is_empty() { None } else { Some(streamed(&file, &asked)?) };
    Ok(Timed { device, kept_ms, streamed })
}

fn streamed(file: &Path, asked: &Closed) -> Result<Streamed> {
    // A ledger that has room for nothing asks for the least.
    let least = EngineOptions { ledger: Ledger::new(Budget::device(1)), ..EngineOptions::default() }.open(file)?;
    let request = asked.batch.map_or_else(Request::default, Request::batch);
    let least_bytes = least.plan(&request)?.device_bytes();
    let engine = EngineOptions { ledger: Ledger::new(Budget::device(least_bytes)), ..EngineOptions::default() };
    let engine = engine.open(file)?;
    let run_ms = milliseconds(&engine, asked)?;
    let stages = engine.stages();
    let runs = stages.iter().map(|stage| stage.runs).min().unwrap_or_default().max(1);
    let loaded: u64 = stages.iter().map(|stage| stage.loads * stage.weights_bytes).sum();
    Ok(Streamed { run_ms, loaded_bytes: loaded / runs })
}

fn milliseconds(engine: &Engine, asked: &Closed) -> Result<f64> {
    let settings = Settings { duration: MEASURED, warm_up: WARM_UP, ..Settings::default() };
    let run = closed(engine, asked, &settings)?;
    Ok(run.latency_us.map_or(f64::NAN, |latency| latency.p50) / 1e3)
}
