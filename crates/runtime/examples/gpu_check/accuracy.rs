//! Outputs of an engine against those of the FP32 model on ONNX Runtime, at every shape.

use std::path::Path;

use trtforge_runtime::{Engine, Result, Session, SessionOptions};

use super::inputs::{RunShape, fill, numbers};
use super::report::{Check, Subject};

/// Decibel that an output may stay below what its manifest promises: other inputs, other kernels.
const SLACK_DB: f64 = 6.0;

/// Least decibel where no manifest says more: 32 bits may be computed with 19, half precision has 11, INT8 has 8.
fn least_db(precision: Option<&str>) -> f64 {
    match precision {
        Some("fp32") => 40.0,
        Some("int8" | "auto") => 10.0,
        _ => 25.0,
    }
}

/// Least decibel of an output, from the manifest of its engine.
pub fn wanted_db(manifest: &serde_json::Value, output: &str) -> f64 {
    let entries = manifest["accuracy"].as_array().into_iter().flatten();
    let promised = entries.filter(|entry| entry["output"] == output).find_map(|entry| entry["sqnr_db"].as_f64());
    let least = least_db(manifest["precision"]["requested"].as_str());
    promised.map_or(least, |promised| promised - SLACK_DB)
}

/// Signal to noise in decibel; infinite where nothing differs, no number where something is none.
pub fn sqnr_db(wanted: &[f64], got: &[f64]) -> f64 {
    if wanted.len() != got.len() || got.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    let signal: f64 = wanted.iter().map(|value| value * value).sum();
    let noise: f64 = wanted.iter().zip(got).map(|(a, b)| (a - b) * (a - b)).sum();
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// Runs `shape` in the first slot of `session` on noise of `seed`; name, element type and values of each output.
fn run(session: &mut Session, shape: &RunShape, seed: u64) -> Result<Vec<(String, Vec<f64>)>> {
    let engine = session.engine().clone();
    let mut slot = session.slot(0)?;
    shape.set(&mut slot)?;
    fill(&mut slot, &engine.signature().inputs, seed)?;
    slot.run()?;
    let outputs = engine.signature().outputs.iter();
    outputs.map(|it| Ok((it.name.clone(), numbers(it.element, slot.read_output(&it.name)?)))).collect()
}

/// One check per output and shape.
pub fn check(engine: &Engine, model: &Path, manifest: &serde_json::Value, shapes: &[RunShape]) -> Result<Vec<Check>> {
    let reference = Engine::open(model)?;
    let mut session = engine.session(SessionOptions::default())?;
    let mut checks = Vec::new();
    for (shape, seed) in shapes.iter().zip(1..) {
        let got = run(&mut session, shape, seed)?;
        let wanted = run(&mut reference.session(shape.request().into())?, shape, seed)?;
        for (output, wanted) in wanted {
            let name = format!("accuracy of {output}, {}, dB", shape.label);
            let got = got.iter().find(|(name, _)| *name == output).map(|(_, values)| values.as_slice());
            let db = sqnr_db(&wanted, got.unwrap_or_default());
            checks.push(Subject { engine: engine.name(), name: &name }.at_least(db, wanted_db(manifest, &output)));
        }
    }
    Ok(checks)
}
