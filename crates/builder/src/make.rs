//! The engine of a model in memory: prepared, verified, compiled, and weighed against a budget; nothing is written here.

use crate::activation::{ActivationAccount, account};
use crate::budget::{BudgetMiss, check_budget};
use crate::build::{BuildOptions, Libraries};
use crate::compile::{Compiled, Watch, compile};
use crate::fit::{Fit, fit};
use crate::floor::hold_to_floor;
use crate::form::LeanForm;
use crate::io_bytes::largest_io_bytes;
use crate::lean::{self, Lean};
use crate::manifest::MemoryInfo;
use crate::passes::ResolvedShapes;
use crate::precision::Precision;
use crate::prepare::{Prepared, at_largest_shapes, prepare_weighed, typed_graph};
use crate::segments::{CompiledStage, Divisible, StageCompiler, Stages, peak_memory};
use crate::size::{ByteSize, format_bytes};
use crate::stage::{Stage, Timings};
use crate::verify::Verification;
use crate::{CancelFlag, Error, Progress, Result};
use std::time::Instant;
use trtforge_graph::Model;
use trtforge_graph::segmentation::SegmentMemory;

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
    /// Compiles a converted model as one engine, or in stages where those were asked for.
    pub(crate) fn compile(
        options: &BuildOptions,
        libraries: &Libraries,
        model: &Model,
        shapes: &ResolvedShapes,
        timings: &mut Timings,
        watch: &Watch<'_>,
    ) -> Result<(Self, MemoryInfo)> {
        let compile_options = options.compile_options();
        if let Some(stages) = options.stages {
            let graph = typed_graph(&libraries.onnxruntime, model.clone(), "stages")?;
            let network = Divisible::new(graph, shapes);
            let compiler = StageCompiler::new(&libraries.tensorrt, &compile_options, watch);
            let budget = options.memory_budget.map(ByteSize::bytes);
            let compiled = compiler.compile(&network, stages, budget, timings)?;
            let memory = peak_memory(&compiled);
            return Ok((Self::Stages(Box::new(network), compiled), memory));
        }
        let compiled = compile(&libraries.tensorrt, model, shapes, &compile_options, timings, watch)?;
        watch.cancel.check()?;
        let io_bytes = largest_io_bytes(&libraries.onnxruntime, model, shapes)?;
        if io_bytes.is_none() {
            watch.progress.note("the size of an output depends on the data: inputs and outputs are not counted");
        }
        let memory = memory(&compiled, io_bytes.unwrap_or_default(), model);
        Ok((Self::Whole(compiled), memory))
    }

    /// Engines that there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Whole(_) => 1,
            Self::Stages(_, stages) => stages.len(),
        }
    }

    /// Memory of each stage; nothing of one engine.
    pub(crate) fn stages(&self) -> Vec<SegmentMemory> {
        match self {
            Self::Whole(_) => vec![],
            Self::Stages(_, stages) => stages.iter().map(|stage| stage.memory).collect(),
        }
    }

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
        Err(Error::MemoryBudget(miss)) => match options.stages {
            Some(_) => Err(missed(*miss, options, libraries, watch)),
            None => make_in_stages(options, *miss, libraries, watch),
        },
        made => made,
    }
}

/// Makes it in stages after it was found to be too large as one.
fn make_in_stages(
    options: &BuildOptions,
    miss: BudgetMiss,
    libraries: &Libraries,
    watch: &Watch<'_>,
) -> Result<(BuildOptions, Made)> {
    watch.progress.note(&format!("{miss}; trying stages"));
    let mut staged = BuildOptions { stages: Some(Stages::Auto), ..options.clone() };
    if staged.prepare.shapes.is_empty() {
        staged.prepare.batch = staged.prepare.batch.or(Some(1));
    }
    match make_at_once(&staged, libraries, watch) {
        Err(Error::MemoryBudget(staged)) => Err(missed(miss.join(*staged), options, libraries, watch)),
        // What cannot be cut is told by what it takes as one.
        Err(Error::Stages { .. }) => Err(missed(miss, options, libraries, watch)),
        made => made,
    }
}

/// The error of a budget that was missed, with what else there is.
fn missed(miss: BudgetMiss, options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Error {
    match miss.with_alternatives(options, libraries, watch) {
        Ok(miss) => Error::MemoryBudget(Box::new(miss)),
        Err(error) => error,
    }
}

fn make_at_once(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<(BuildOptions, Made)> {
    let made = make(options, libraries, watch)?;
    check_budget(options, made.parts.count(), &made.memory)?;
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
        match check_budget(&options, made.parts.count(), &made.memory) {
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
    let lean = lean::find(options, libraries, watch)?;
    let mut prepare_options = options.prepare.clone();
    if let Some(lean) = &lean {
        lean.apply(&mut prepare_options);
    }
    let notes = lean.iter().map(Lean::note).collect();
    let weigh = |model: &Model, shapes: &ResolvedShapes| lean::weigh(options, libraries, model, shapes, cancel);
    let mut prepared = prepare_weighed(&prepare_options, Some(&weigh), progress, cancel)?;
    let verification = verified(options, &mut prepared, progress, cancel)?;
    let Prepared { model, shapes, timings, .. } = &mut prepared;
    let activation = account(&at_largest_shapes(&libraries.onnxruntime, model, shapes)?);
    let (parts, memory) = Parts::compile(options, libraries, model, shapes, timings, watch)?;
    let form = lean.map(|lean| lean.choice.form).filter(|form| !form.is_plain());
    Ok(Made { prepared, verification, parts, memory, activation, form, notes })
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
