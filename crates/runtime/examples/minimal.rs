//! Opens a model, makes a session, runs it once and prints what came out.
//!
//!     cargo run --release --package trtforge-runtime --example minimal -- assets/detector/detector.onnx

mod support;

use std::path::Path;
use std::process::ExitCode;

use trtforge_runtime::{Engine, Request, Result, SessionOptions};

fn main() -> ExitCode {
    support::with_model(run)
}

fn run(model: &Path) -> Result<()> {
    let engine = Engine::open(model)?;
    println!("{} on {}", engine.name(), engine.device());
    engine.signature().inputs.iter().for_each(|it| println!("input  {}: {it}", it.name));
    engine.signature().outputs.iter().for_each(|it| println!("output {}: {it}", it.name));

    let request = Request::default();
    println!("memory, before anything of it is allocated:\n{}", engine.plan(&request)?);
    let mut session = engine.session(SessionOptions::from(request))?;
    let mut slot = session.slot(0)?;
    support::fill(&mut slot, &engine.signature().inputs)?;
    slot.run()?;
    for output in &engine.signature().outputs {
        let shape = slot.output_shape(&output.name)?;
        match slot.output::<f32>(&output.name) {
            Ok(values) => println!("{} {shape} starts with {:?}", output.name, &values[..values.len().min(4)]),
            Err(_) => println!("{} {shape}: {} bytes", output.name, slot.read_output(&output.name)?.len()),
        }
    }
    Ok(())
}
