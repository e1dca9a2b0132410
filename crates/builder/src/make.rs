//! The engine of a model in memory: prepared, verified, compiled, and weighed against a budget; nothing is written here.

use crate::activation::{ActivationAccount, account};
use crate::build::{BuildOptions, Libraries};
use crate::calibration::{CalibrationCache, calibrated_tensors};
use crate::compile::{CompileOptions, Compiled, Watch, compile};
use crate::fit::{Fit, fit};
use crate::floor::hold_to_floor;
use crate::form::{Choice, LeanForm};
use crate::int8::Form;
use crate::io_bytes::largest_io_bytes;
use crate::manifest::MemoryInfo;
use crate::passes::{PluginNodes, ResolvedShapes};
use crate::precision::Precision;
use crate::prepare::{
    PrepareOptions, Prepared, at_largest_shapes, convert_for_memory, prepare, prepare_weighed, typed_graph,
};
use crate::quantization::existing::{Existing, recognise};
use crate::segments::{CompiledStage, Divisible, StageCompiler, Stages, peak_memory};
use crate::size::{ByteSize, format_bytes};
use crate::stage::{Stage, Timings};
use crate::verify::Verification;
use crate::{CancelFlag, Error, Progress, Result, counted};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use trtforge_graph::{Graph, Model};
use trtforge_onnxruntime::release_freed_memory;

/// An engine in memory, and everything there is to say of it.
pub(crate) struct Made {
    pub(crate) prepared: Prepared,
    pub(crate) verification: Option<(Verification, String)>,
    pub(crate) parts: Parts,
    pub(crate) memory: MemoryInfo,
    pub(crate) activation: ActivationAccount,
    pub(crate) form: Option<LeanForm>,
    pub(crate) notes: Vec<String>,
}

/// What was compiled.
pub(crate) enum Parts {
    /// One engine.
    Whole(Compiled),
    /// One per stage, with the network that they are cut from.
    Stages(Box<Divisible>, Vec<CompiledStage>),
}

impl Parts {
    /// Auxiliary streams that engines were allowed in the end.
    pub(crate) fn auxiliary_streams(&self) -> u32 {
        match self {
            Self::Whole(compiled) => compiled.auxiliary_streams,
            Self::Stages(_, stages) => stages.iter().map(|stage| stage.compiled.auxiliary_streams).max().unwrap_or(0),
        }
    }
}

/// Makes the engine within the memory budget: at the largest batch that fits, where the batch is for us to choose, then in stages.
pub(crate) fn make_fitting(
    options: &BuildOptions,
    libraries: &Libraries,
    watch: &Watch<'_>,
) -> Result<(BuildOptions, Made)> {
    let as_one = match options.stages {
        Some(_) => make_at_once(options, libraries, watch),
        None => make_largest(options, libraries, watch),
    };
    match as_one {
        Err(error @ Error::MemoryBudget { .. }) if options.stages.is_none() => {
            watch.progress.note(&format!("{error}; trying stages"));
            let mut staged = BuildOptions { stages: Some(Stages::Auto), ..options.clone() };
            if staged.prepare.shapes.is_empty() {
                staged.prepare.batch = staged.prepare.batch.or(Some(1));
            }
            match make_at_once(&staged, libraries, watch) {
                // What cannot be cut is told by what it takes as one.
                Err(Error::Stages { .. }) => Err(error),
                made => made,
            }
        }
        made => made,
    }
}

fn make_at_once(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<(BuildOptions, Made)> {
    let made = make(options, libraries, watch)?;
    check_budget(&made.memory, options.memory_budget)?;
    Ok((options.clone(), made))
}

/// Makes one engine at the largest batch that fits. What an accuracy floor keeps in FP16 may take more than was measured, so that a smaller batch is needed.
fn make_largest(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<(BuildOptions, Made)> {
    let Some(Fit { mut batch, measured }) = fit(options, libraries, watch.progress, watch.cancel)? else {
        return make_at_once(options, libraries, watch);
    };
    let mut options = options.clone();
    loop {
        options.prepare.batch = Some(batch);
        let mut made = make(&options, libraries, watch)?;
        match check_budget(&made.memory, options.memory_budget) {
            Err(_) if batch > 1 => {
                let taken = format_bytes(made.memory.total_bytes);
                watch.progress.note(&format!("batch {batch} takes {taken} as built; trying {}", batch - 1));
                batch -= 1;
            }
            fits => {
                made.memory.by_batch = measured;
                return fits.map(|()| (options, made));
            }
        }
    }
}

/// Makes the engine in the precision asked for; for `auto` in INT8 and in FP16, and returns the one that takes less memory of those that reach the floor.
pub(crate) fn make(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Made> {
    if options.prepare.precision != Precision::Auto {
        return make_one(options, libraries, watch);
    }
    let floor = Some(options.floor());
    let (mut best, mut failure, mut notes): (Option<(Precision, Made)>, Option<Error>, Vec<String>) =
        (None, None, vec![]);
    for precision in [Precision::Int8, Precision::Fp16] {
        let mut one = BuildOptions { accuracy_floor: floor, ..options.clone() };
        one.prepare.precision = precision;
        one.prepare.int8.floor = floor;
        match make_one(&one, libraries, watch) {
            Ok(made) => {
                notes.push(format!("{precision} takes {}", format_bytes(made.memory.total_bytes)));
                if best.as_ref().is_none_or(|(_, best)| made.memory.total_bytes < best.memory.total_bytes) {
                    best = Some((precision, made));
                }
            }
            Err(error @ (Error::AccuracyFloor(_) | Error::NothingToCalibrate { .. })) => {
                notes.push(format!("{precision} is out: {error}"));
                failure.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match best {
        Some((precision, mut made)) => {
            notes.push(format!("auto chose {precision}"));
            made.notes.append(&mut notes);
            Ok(made)
        }
        None => Err(failure.unwrap_or(Error::NothingToCalibrate { rows: vec![], kept: 0 })),
    }
}

fn make_one(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Made> {
    let (progress, cancel) = (&**watch.progress, watch.cancel);
    let lean = lean_form(options, libraries, watch)?;
    let mut prepare_options = options.prepare.clone();
    let mut notes = Vec::new();
    if let Some(Lean { choice, depthwise }) = &lean {
        prepare_options.form = choice.form.clone();
        prepare_options.int8.depthwise = *depthwise;
        let (from, to) = (format_bytes(choice.plain_bytes), format_bytes(choice.bytes));
        let placement = match choice.form.placement {
            Form::FULL => String::new(),
            placement => format!(", with {placement} in INT8"),
        };
        notes.push(format!(
            "laid out for memory: {from} of weights and activation became {to}{placement} ({})",
            counted(choice.builds, "build")
        ));
    }
    let weigh = |model: &Model, shapes: &ResolvedShapes| weigh(options, libraries, model, shapes, cancel);
    let mut prepared = prepare_weighed(&prepare_options, Some(&weigh), progress, cancel)?;
    let verification = verified(options, &mut prepared, progress, cancel)?;
    let activation = account(&at_largest_shapes(&libraries.onnxruntime, &prepared.model, &prepared.shapes)?);
    let (parts, memory) = match options.stages {
        Some(stages) => compiled_stages(options, stages, libraries, &mut prepared, watch)?,
        None => compiled_whole(options, libraries, &mut prepared, watch)?,
    };
    let form = lean.map(|lean| lean.choice.form).filter(|form| !form.is_plain());
    Ok(Made { prepared, verification, parts, memory, activation, form, notes })
}

fn compiled_whole(
    options: &BuildOptions,
    libraries: &Libraries,
    prepared: &mut Prepared,
    watch: &Watch<'_>,
) -> Result<(Parts, MemoryInfo)> {
    let (model, shapes) = (&prepared.model, &prepared.shapes);
    let compile_options = compile_options(options);
    let compiled = compile(&libraries.tensorrt, model, shapes, &compile_options, &mut prepared.timings, watch)?;
    watch.cancel.check()?;
    let io_bytes = largest_io_bytes(&libraries.onnxruntime, model, shapes)?;
    if io_bytes.is_none() {
        watch.progress.note("the size of an output depends on the data: inputs and outputs are not counted");
    }
    let memory = memory(&compiled, io_bytes.unwrap_or_default(), model);
    Ok((Parts::Whole(compiled), memory))
}

fn compiled_stages(
    options: &BuildOptions,
    stages: Stages,
    libraries: &Libraries,
    prepared: &mut Prepared,
    watch: &Watch<'_>,
) -> Result<(Parts, MemoryInfo)> {
    let graph = typed_graph(&libraries.onnxruntime, prepared.model.clone(), "stages")?;
    let mut network = Divisible::new(graph, &prepared.shapes);
    let compiler = StageCompiler { tensorrt: &libraries.tensorrt, options: &compile_options(options), watch };
    let budget = options.memory_budget.map(ByteSize::bytes);
    let compiled = compiler.compile(&mut network, stages, budget, &mut prepared.timings)?;
    let memory = peak_memory(&compiled);
    Ok((Parts::Stages(Box::new(network), compiled), memory))
}

fn compile_options(options: &BuildOptions) -> CompileOptions {
    CompileOptions {
        workspace_bytes: options.workspace_bytes(),
        auxiliary_streams: options.auxiliary_streams,
        compute_capabilities: options.compute_capabilities.clone(),
    }
}

/// What an INT8 network takes least memory with.
struct Lean {
    choice: Choice,
    depthwise: bool,
}

/// Finds the form of an INT8 network, or of one that is cut into stages, that takes least memory by building it, with scales that mean nothing. None where that was
/// not asked for.
/// A calibration cache names the tensors of the network as it is; those that a form adds and that none of them tells of stay in half precision.
fn lean_form(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Option<Lean>> {
    if !options.lean || (options.prepare.precision != Precision::Int8 && options.stages.is_none()) {
        return Ok(None);
    }
    let (progress, cancel) = (&**watch.progress, watch.cancel);
    let mut repaired =
        PrepareOptions { stop_after: Some(Stage::Repair), dump_after: vec![], ..options.prepare.clone() };
    repaired.form = LeanForm::default();
    let repaired = prepare(&repaired, &(), cancel)?;
    if PluginNodes::set_aside(&repaired.model)?.0.is_some() {
        return Ok(None);
    }
    let graph = typed_graph(&libraries.onnxruntime, repaired.model, "form")?;
    if !matches!(recognise(&graph), Existing::None) {
        return Ok(None);
    }
    progress.step("form");
    let cached = cached_tensors(options.prepare.int8.cache.as_deref(), &graph)?;
    let cached = cached.as_ref();
    let judge = |model: &Model| weigh(options, libraries, model, &repaired.shapes, cancel);
    let with = |depthwise: bool| {
        let mut prepare = options.prepare.clone();
        prepare.int8.depthwise = depthwise;
        prepare
    };
    let (all, half) = (with(true), with(false));
    let bytes = |prepare: &PrepareOptions| judge(&convert_for_memory(graph.clone(), prepare, Form::FULL, cached)?);
    let depthwise = options.prepare.precision != Precision::Int8
        || !graph.node_ids().any(|node| graph.attribute_int(node, "group").unwrap_or(1) > 1)
        || bytes(&all)? <= bytes(&half)?;
    let prepare = if depthwise { all } else { half };
    let convert = |graph, placement| convert_for_memory(graph, &prepare, placement, cached);
    let choice = crate::form::Search::new(&graph, &convert, &judge, progress, cancel).choose()?;
    release_freed_memory();
    Ok(Some(Lean { choice, depthwise }))
}

/// Weights and activation of a model's engine in bytes, from a build that is thrown away.
fn weigh(
    options: &BuildOptions,
    libraries: &Libraries,
    model: &Model,
    shapes: &ResolvedShapes,
    cancel: &CancelFlag,
) -> Result<u64> {
    let silent: Arc<dyn Progress> = Arc::new(());
    let watch = Watch { progress: &silent, cancel };
    let mut timings = Timings::default();
    let compiled = compile(&libraries.tensorrt, model, shapes, &compile_options(options), &mut timings, &watch)?;
    Ok(compiled.memory.weights_bytes.unwrap_or_default() + compiled.memory.activation_bytes.unwrap_or_default())
}

/// The tensors of a calibration cache: those of its file, or those that it will have once it is written.
fn cached_tensors(cache: Option<&Path>, graph: &Graph) -> Result<Option<HashSet<String>>> {
    Ok(match cache {
        Some(cache) if cache.exists() => {
            Some(CalibrationCache::read(cache)?.entries().iter().map(|(tensor, _)| tensor.clone()).collect())
        }
        Some(_) => Some(calibrated_tensors(graph).into_iter().collect()),
        None => None,
    })
}

/// Verifies the prepared model where asked, and holds it against the floor.
fn verified(
    options: &BuildOptions,
    prepared: &mut Prepared,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Option<(Verification, String)>> {
    if !options.verify {
        return Ok(None);
    }
    progress.step(Stage::Verify.name());
    let start = Instant::now();
    let asked = options.accuracy_floor.is_some();
    let verified = hold_to_floor(&options.prepare, prepared, &options.floor(), asked, progress, cancel)?;
    prepared.timings.add(Stage::Verify, start.elapsed().as_secs_f64() * 1e3);
    Ok(verified)
}

fn memory(compiled: &Compiled, io_bytes: u64, model: &Model) -> MemoryInfo {
    let weights_bytes = compiled.memory.weights_bytes.unwrap_or_else(|| model.weights_bytes());
    let activation_bytes = compiled.memory.activation_bytes.unwrap_or_default();
    MemoryInfo {
        weights_bytes,
        activation_bytes,
        io_bytes,
        total_bytes: weights_bytes + activation_bytes + io_bytes,
        scratch_bytes: compiled.memory.scratch_bytes.unwrap_or_default(),
        by_batch: vec![],
    }
}

fn check_budget(memory: &MemoryInfo, budget: Option<ByteSize>) -> Result<()> {
    match budget {
        Some(budget) if memory.total_bytes > budget.bytes() => Err(Error::MemoryBudget {
            budget: budget.bytes(),
            weights: memory.weights_bytes,
            activation: memory.activation_bytes,
            io: memory.io_bytes,
        }),
        _ => Ok(()),
    }
}
