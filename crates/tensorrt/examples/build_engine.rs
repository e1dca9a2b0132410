//! Builds an engine from an ONNX model and prints what TensorRT told.
//!
//! `cargo run -p trtforge-tensorrt --example build_engine -- MODEL.onnx [OUT.engine]`

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use trtforge_tensorrt::{MemoryPool, TensorRt};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let model = arguments.next().ok_or("give a model")?;
    let bytes = std::fs::read(&model)?;
    let tensorrt = TensorRt::load()?;
    println!("TensorRT {} ({})", tensorrt.version(), tensorrt.flavour().name());
    let builder = tensorrt.builder()?;
    let mut network = builder.network()?;
    let start = Instant::now();
    network.parse_onnx(&bytes, Some(&model))?;
    println!("parsed in {:?}", start.elapsed());
    for tensor in network.inputs().iter().chain(&network.outputs()) {
        println!("  {tensor}");
    }
    println!("{} layers, outputs {:?}", network.layer_count(), network.precision());
    let mut config = builder.config()?;
    println!("default workspace: {}", config.memory_pool_limit(MemoryPool::Workspace));
    config.set_memory_pool_limit(MemoryPool::Workspace, 1 << 30)?;
    let built = builder.build(&mut network, &mut config)?;
    for line in &built.report.log {
        println!("{line}");
    }
    println!("{} bytes in {:?}: {:?}", built.engine.len(), built.report.duration, built.report.memory);
    if let Some(path) = arguments.next() {
        std::fs::write(path, &*built.engine)?;
    }
    Ok(())
}
