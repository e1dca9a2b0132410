//! TensorRT's part of a build: parse the rewritten model, build the engine, read the memory figures, enforce the workspace limit.

use crate::passes::ResolvedShapes;
use crate::stage::{Stage, Timings};
use crate::{CancelFlag, Error, Progress, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use trtforge_graph::Model;
use trtforge_tensorrt::{
    Builder, BuilderConfig, Built, Flow, MemoryPool, MemoryTotals, Network, ProgressEvent, SerializedEngine,
    TensorFormat, TensorRt, Weights,
};

/// Tensors from this size on are handed to TensorRT in place instead of through protobuf.
const IN_PLACE_BYTES: usize = 4096;
/// A limit that no engine reaches, to learn what one needs.
const UNLIMITED_WORKSPACE: u64 = 1 << 40;

/// How an engine is compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Limit on scratch memory in bytes.
    pub workspace_bytes: u64,
    /// Streams beside the main one that branches of the network may run on. 0 takes the least memory: with more, the
    /// activations of branches that might run at once cannot share memory.
    pub auxiliary_streams: u32,
    /// Compute capabilities such as `8.6`; empty for TensorRT's default.
    pub compute_capabilities: Vec<String>,
    /// Inputs and outputs whose elements do not lie in row-major order.
    pub formats: BTreeMap<String, TensorFormat>,
}

/// A compiled engine, not yet written.
#[derive(Debug)]
pub struct Compiled {
    /// The serialised plan, in TensorRT's own memory.
    pub engine: SerializedEngine,
    /// Memory figures from the compiler.
    pub memory: MemoryTotals,
    /// Auxiliary streams that the engine was allowed in the end.
    pub auxiliary_streams: u32,
}

/// Everything a compilation reports to and is stopped by.
pub struct Watch<'a> {
    /// Hears of steps and their progress.
    pub progress: &'a Arc<dyn Progress>,
    /// Stops the build.
    pub cancel: &'a CancelFlag,
}

/// Compiles `model` for `shapes`.
///
/// An engine that does not fit the workspace is tried once more without auxiliary streams, where it had any; what still does not fit fails with the exact figure,
/// which takes one more build without a limit. TensorRT-RTX lets an engine pass its limit by a little, so the figures are checked after the build as well.
///
/// # Errors
/// Those of TensorRT, with the node where its parser names one; [`Error::Workspace`]; [`Error::Cancelled`].
pub fn compile(
    tensorrt: &TensorRt,
    model: &Model,
    shapes: &ResolvedShapes,
    options: &CompileOptions,
    timings: &mut Timings,
    watch: &Watch<'_>,
) -> Result<Compiled> {
    match attempt(tensorrt, model, shapes, options, timings, watch) {
        Err(Refusal::Workspace) if options.auxiliary_streams > 0 => {
            watch.progress.note("the engine does not fit the workspace; trying without auxiliary streams");
            let lean = CompileOptions { auxiliary_streams: 0, ..options.clone() };
            compile(tensorrt, model, shapes, &lean, timings, watch)
        }
        Err(Refusal::Workspace) => {
            let unlimited = CompileOptions { workspace_bytes: UNLIMITED_WORKSPACE, ..options.clone() };
            let compiled = attempt(tensorrt, model, shapes, &unlimited, timings, watch).map_err(Refusal::into_error)?;
            let need = compiled.memory.scratch_bytes.unwrap_or(options.workspace_bytes);
            Err(Error::Workspace { need, limit: options.workspace_bytes })
        }
        Err(Refusal::Other(error)) => Err(error),
        Ok(compiled) => Ok(compiled),
    }
}

/// Why one attempt gave no engine.
enum Refusal {
    Workspace,
    Other(Error),
}

impl Refusal {
    fn into_error(self) -> Error {
        match self {
            Refusal::Workspace => Error::Workspace { need: UNLIMITED_WORKSPACE, limit: UNLIMITED_WORKSPACE },
            Refusal::Other(error) => error,
        }
    }
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        match error.into() {
            Error::TensorRt(trtforge_tensorrt::Error::OutOfWorkspace { .. }) => Refusal::Workspace,
            Error::TensorRt(trtforge_tensorrt::Error::Cancelled) => Refusal::Other(Error::Cancelled),
            other => Refusal::Other(other),
        }
    }
}

fn attempt(
    tensorrt: &TensorRt,
    model: &Model,
    shapes: &ResolvedShapes,
    options: &CompileOptions,
    timings: &mut Timings,
    watch: &Watch<'_>,
) -> std::result::Result<Compiled, Refusal> {
    let builder = tensorrt.builder()?;
    let mut network = builder.network()?;
    watch.cancel.check()?;
    watch.progress.step(Stage::Parse.name());
    timings.measure(Stage::Parse, || parse(&mut network, model))?;
    options.formats.iter().try_for_each(|(tensor, format)| network.set_format(tensor, *format))?;
    let mut config = configure(&builder, options, shapes, watch.progress, watch.cancel)?;
    watch.progress.step(Stage::Compile.name());
    let Built { engine, report } = timings.measure(Stage::Compile, || builder.build(&mut network, &mut config))?;
    if exceeds(report.memory, options.workspace_bytes) {
        return Err(Refusal::Workspace);
    }
    Ok(Compiled { engine, memory: report.memory, auxiliary_streams: options.auxiliary_streams })
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
    config.set_max_auxiliary_streams(options.auxiliary_streams)?;
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

fn exceeds(memory: MemoryTotals, limit: u64) -> bool {
    memory.scratch_bytes.is_some_and(|need| need > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_beyond_the_workspace_is_noticed() {
        let memory = |scratch| MemoryTotals { scratch_bytes: scratch, ..MemoryTotals::default() };
        assert!(!exceeds(memory(Some(10)), 10));
        assert!(exceeds(memory(Some(11)), 10));
        assert!(!exceeds(memory(None), 10));
    }
}
