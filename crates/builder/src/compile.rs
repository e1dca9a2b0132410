//! TensorRT's part of a build: parse the rewritten model, build the engine, read the memory figures, enforce the workspace limit.

use crate::passes::ResolvedShapes;
use crate::stage::{Stage, Timings};
use crate::{CancelFlag, Error, Progress, Result};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use trtforge_graph::Model;
use trtforge_tensorrt::{
    Builder, BuilderConfig, Built, DataType, Flow, MemoryPool, MemoryTotals, Network, ProgressEvent, SerializedEngine,
    TensorRt, Weights,
};

/// Tensors from this size on are handed to TensorRT in place instead of through protobuf.
const IN_PLACE_BYTES: usize = 4096;

/// How an engine is compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Limit on scratch memory in bytes.
    pub workspace_bytes: u64,
    /// Compute capabilities such as `8.6`; empty for TensorRT's default.
    pub compute_capabilities: Vec<String>,
}

/// A compiled engine, not yet written.
#[derive(Debug)]
pub struct Compiled {
    /// The serialised plan, in TensorRT's own memory.
    pub engine: SerializedEngine,
    /// Memory figures from the compiler.
    pub memory: MemoryTotals,
    /// Bytes of inputs and outputs at their largest shapes.
    pub io_bytes: u64,
}

/// Compiles `model` for `shapes`.
///
/// # Errors
/// Those of TensorRT, with the node where its parser names one; [`Error::Workspace`] where the engine's scratch memory passes the limit, which TensorRT-RTX does not
/// enforce by itself; [`Error::Cancelled`].
pub fn compile(
    tensorrt: &TensorRt,
    model: &Model,
    shapes: &ResolvedShapes,
    options: &CompileOptions,
    timings: &mut Timings,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<Compiled> {
    let builder = tensorrt.builder()?;
    let mut network = builder.network()?;
    cancel.check()?;
    progress.step(Stage::Parse.name());
    timings.measure(Stage::Parse, || parse(&mut network, model))?;
    let io_bytes = io_bytes(&network, shapes);
    let mut config = configure(&builder, options, shapes, progress, cancel)?;
    progress.step(Stage::Compile.name());
    let built =
        timings.measure(Stage::Compile, || builder.build(&mut network, &mut config)).map_err(|error| match error {
            trtforge_tensorrt::Error::Cancelled { .. } => Error::Cancelled,
            other => other.into(),
        })?;
    let Built { engine, report } = built;
    check_workspace(report.memory, options.workspace_bytes)?;
    Ok(Compiled { engine, memory: report.memory, io_bytes })
}

fn parse(network: &mut Network, model: &Model) -> Result<()> {
    let (skeleton, tensors) = model.split_weights(IN_PLACE_BYTES).map_err(Error::pass("parse"))?;
    let weights = tensors.into_iter().map(|tensor| Weights { name: tensor.name, data: aligned(tensor.data) }).collect();
    Ok(network.parse_onnx_with_weights(&skeleton, weights, model.path())?)
}

/// Data at an address that any element type may have. A tensor in a mapped file lies wherever the file format put it.
fn aligned(data: Bytes) -> Bytes {
    const ALIGNMENT: usize = 8;
    if data.as_ptr().addr().is_multiple_of(ALIGNMENT) { data } else { Bytes::copy_from_slice(&data) }
}

fn configure(
    builder: &Builder,
    options: &CompileOptions,
    shapes: &ResolvedShapes,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<BuilderConfig> {
    let mut config = builder.config()?;
    config.set_memory_pool_limit(MemoryPool::Workspace, options.workspace_bytes)?;
    set_compute_capabilities(&mut config, &options.compute_capabilities)?;
    if shapes.is_dynamic() {
        let mut profile = builder.profile()?;
        for (name, range) in &shapes.ranges {
            let dimensions = |shape: &crate::shapes::Shape| shape.0.iter().map(|&d| d as i64).collect::<Vec<_>>();
            profile.set_shape(name, &dimensions(&range.min), &dimensions(&range.opt), &dimensions(&range.max))?;
        }
        config.add_profile(profile)?;
    }
    let (progress, cancel) = (Arc::clone(progress), cancel.clone());
    let mut phases: HashMap<String, u32> = HashMap::new();
    config.set_progress(Box::new(move |event: ProgressEvent<'_>| {
        report(&*progress, &mut phases, event);
        if cancel.is_cancelled() { Flow::Cancel } else { Flow::Continue }
    }))?;
    Ok(config)
}

fn report(progress: &dyn Progress, phases: &mut HashMap<String, u32>, event: ProgressEvent<'_>) {
    match event {
        ProgressEvent::Started { phase, steps, .. } => {
            phases.insert(phase.to_owned(), steps);
        }
        ProgressEvent::Step { phase, step } => {
            let total = phases.get(phase).copied().unwrap_or_default();
            progress.advance(phase, u64::from(step) + 1, u64::from(total));
        }
        _ => {}
    }
}

#[cfg(not(feature = "enterprise"))]
fn set_compute_capabilities(config: &mut BuilderConfig, names: &[String]) -> Result<()> {
    use trtforge_tensorrt::ComputeCapability;
    let parse = |name: &String| {
        let (major, minor) = name.split_once('.')?;
        ComputeCapability::of_version(major.parse().ok()?, minor.parse().ok()?)
    };
    let known = || {
        ComputeCapability::ALL
            .iter()
            .filter_map(|capability| capability.version())
            .map(|(a, b)| format!("{a}.{b}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let capabilities: Result<Vec<_>> = names
        .iter()
        .map(|name| {
            parse(name).ok_or_else(|| {
                Error::Usage(format!("compute capability `{name}` is not one TensorRT-RTX builds for ({})", known()))
            })
        })
        .collect();
    let capabilities = capabilities?;
    if capabilities.is_empty() { Ok(()) } else { Ok(config.set_compute_capabilities(&capabilities)?) }
}

#[cfg(feature = "enterprise")]
fn set_compute_capabilities(_: &mut BuilderConfig, names: &[String]) -> Result<()> {
    match names {
        [] => Ok(()),
        _ => Err(Error::Usage(
            "--compute-capability is for TensorRT-RTX; TensorRT builds for the GPU of this machine".into(),
        )),
    }
}

/// Bytes of every input and output at its largest: the profile's maximum for inputs; outputs that stay open are counted from the batch they follow.
fn io_bytes(network: &Network, shapes: &ResolvedShapes) -> u64 {
    let inputs = network.inputs();
    let symbols = batch_at_most(shapes);
    let input_bytes: u64 = inputs
        .iter()
        .map(|input| {
            let largest = shapes.ranges.get(&input.name).map(|range| range.max.0.clone());
            largest.map_or(0, |shape| bytes_of(input.data_type, shape.iter().product()))
        })
        .sum();
    let output_bytes: u64 = network
        .outputs()
        .iter()
        .map(|output| {
            bytes_of(
                output.data_type,
                output
                    .dimensions
                    .iter()
                    .enumerate()
                    .map(|(index, &d)| if d < 0 && index == 0 { symbols } else { d.max(1) as u64 })
                    .product(),
            )
        })
        .sum();
    input_bytes + output_bytes
}

fn bytes_of(ty: DataType, elements: u64) -> u64 {
    (elements * ty.size_bits().unwrap_or(32)).div_ceil(8)
}

fn batch_at_most(shapes: &ResolvedShapes) -> u64 {
    shapes.ranges.values().filter_map(|range| range.max.0.first().copied()).max().unwrap_or(1)
}

fn check_workspace(memory: MemoryTotals, limit: u64) -> Result<()> {
    match memory.scratch_bytes {
        Some(need) if need > limit => Err(Error::Workspace { need, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_beyond_the_workspace_fails_with_both_figures() {
        let memory = |scratch| MemoryTotals { scratch_bytes: Some(scratch), ..MemoryTotals::default() };
        assert!(check_workspace(memory(10), 10).is_ok());
        assert!(matches!(check_workspace(memory(11), 10), Err(Error::Workspace { need: 11, limit: 10 })));
    }
}
