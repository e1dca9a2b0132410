//! Models in one ledger that run one after the other, so that one block serves the activations of all.
//!
//!     cargo run --release --package trtforge-runtime --example shared_memory -- assets/detector/detector.onnx
//!
//! An `.engine` file is opened twice. Activations of an `.onnx` file are ONNX Runtime's own, so there two Rust functions
//! that have some stand beside it.

mod support;

use std::path::Path;
use std::process::ExitCode;

use trtforge_runtime::{
    Call, Class, ElementType, EngineOptions, Function, Ledger, Request, Result, SessionOptions, Shape, Signature,
    TensorInfo, Workspace,
};

fn main() -> ExitCode {
    support::with_model(run)
}

fn run(model: &Path) -> Result<()> {
    let ledger = Ledger::default();
    let named = |name: &str| EngineOptions { ledger: ledger.clone(), name: Some(name.into()), ..Default::default() };
    let model = |name: &str| named(name).open(model);
    let request = Request::default();
    let mut engines = vec![model("first")?];
    if engines[0].workspace_bytes(&request)? > 0 {
        engines.push(model("second")?);
    } else {
        engines.push(named("second").function(Smooth { values: 4096 })?);
        engines.push(named("third").function(Smooth { values: 1024 })?);
    }

    let mut apart = 0;
    let mut largest = 0;
    for engine in &engines {
        let plan = engine.plan(&request)?;
        println!("{} alone:\n{plan}\n", engine.name());
        apart += plan[Class::Activation];
        largest = largest.max(engine.workspace_bytes(&request)?);
    }
    let workspace = Workspace::new(&engines[0], "shared activations", largest)?;
    let options = || SessionOptions { workspace: Some(workspace.clone()), ..request.clone().into() };
    let mut sessions = engines.iter().map(|engine| engine.session(options())).collect::<Result<Vec<_>>>()?;
    for (session, engine) in sessions.iter_mut().zip(&engines) {
        let mut slot = session.slot(0)?;
        support::fill(&mut slot, &engine.signature().inputs)?;
        slot.run()?;
    }

    println!("activations: {apart} bytes apart, {} bytes shared", ledger.held()[Class::Activation]);
    println!("all together:\n{}", ledger.held());
    ledger.holders().iter().for_each(|it| println!("  {} holds {} bytes for {}", it.owner, it.bytes, it.class));
    Ok(())
}

/// The mean of neighbours, with a copy of its input as scratch memory.
struct Smooth {
    values: u64,
}

impl Function for Smooth {
    fn signature(&self) -> Signature {
        let tensor = |name| vec![TensorInfo::fixed(name, ElementType::Float32, &[self.values])];
        Signature { inputs: tensor("signal"), outputs: tensor("smooth"), profiles: Vec::new() }
    }

    fn activation_bytes(&self, _: &[Shape]) -> u64 {
        self.values * size_of::<f32>() as u64
    }

    fn run(&self, mut call: Call<'_>) -> Result<()> {
        let signal = call.inputs.get::<f32>(0).unwrap_or_default();
        for (bytes, value) in call.scratch.chunks_exact_mut(size_of::<f32>()).zip(signal) {
            bytes.copy_from_slice(&value.to_ne_bytes());
        }
        let kept = |bytes: &[u8]| bytes.try_into().map(f32::from_ne_bytes).unwrap_or_default();
        let pairs = call.scratch.chunks_exact(8).map(|pair| (kept(&pair[..4]), kept(&pair[4..])));
        let smooth = call.outputs.get::<f32>(0).unwrap_or_default();
        smooth.chunks_exact_mut(2).zip(pairs).for_each(|(to, (a, b))| to.fill((a + b) / 2.0));
        Ok(())
    }
}
