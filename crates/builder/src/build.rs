//! One command's work: ONNX model in, verified engine and manifest out.

use crate::activation::{ActivationAccount, account};
use crate::calibration::{CalibrationCache, calibrated_tensors};
use crate::compile::{CompileOptions, Compiled, Watch, compile};
use crate::config::AccuracyFloor;
use crate::fit::{Fit, fit};
use crate::floor::hold_to_floor;
use crate::form::{Choice, LeanForm};
use crate::int8::{DEFAULT_FLOOR, Form, Int8Options};
use crate::io_bytes::largest_io_bytes;
use crate::manifest::{
    FileInfo, KeptNode, MOST_LISTED_NODES, Manifest, MemoryInfo, ModelInfo, PlannedNode, PrecisionInfo, SCHEMA,
    TensorRtInfo,
};
use crate::output::{OutputLock, StagedFile, check_clashes};
use crate::passes::{PluginNodes, ResolvedShapes};
use crate::precision::{NodePrecision, Precision, PrecisionCounts, PrecisionRow};
use crate::prepare::{PrepareOptions, Prepared, at_largest_shapes, convert_for_memory, prepare, prepare_weighed};
use crate::quantization::existing::{Existing, recognise};
use crate::quantize::write_model;
use crate::samples::SampleSource;
use crate::size::{ByteSize, format_bytes};
use crate::stage::{Stage, Timings};
use crate::verify::Verification;
use crate::{CancelFlag, Error, Progress, Result, counted, digest};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use trtforge_graph::{Graph, Model};
use trtforge_onnxruntime::{OnnxRuntime, release_freed_memory};
use trtforge_tensorrt::TensorRt;

/// Operators that compute in INT8 unless something speaks against it.
const IN_INT8: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];
/// Scratch memory allowed where nothing is said.
pub const DEFAULT_WORKSPACE_BYTES: u64 = 1 << 30;
/// The floor of a half-precision build where nothing is said.
const DEFAULT_HALF_FLOOR: AccuracyFloor = AccuracyFloor { sqnr_db: Some(20.0), cosine: None, channel_db: None };

/// A build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Model, precision, shapes, samples.
    pub prepare: PrepareOptions,
    /// The engine file; its manifest lies beside it.
    pub output: PathBuf,
    /// Scratch memory limit.
    pub workspace: Option<ByteSize>,
    /// Limit on weights, activation and buffers together.
    pub memory_budget: Option<ByteSize>,
    /// Streams beside the main one; 0, the default, takes the least memory.
    pub auxiliary_streams: u32,
    /// Compute capabilities, for example `8.6`.
    pub compute_capabilities: Vec<String>,
    /// Least accuracy of every output; 20 dB for FP16 where nothing is said.
    pub accuracy_floor: Option<AccuracyFloor>,
    /// Whether an INT8 network may be laid out anew for the least memory: bands of rows, merged and split convolutions.
    pub lean: bool,
    /// Whether the result is compared with the FP32 model.
    pub verify: bool,
    /// Where the rewritten model is written, if anywhere.
    pub emit_onnx: Option<PathBuf>,
    /// Whether to build even if nothing changed.
    pub force: bool,
}

impl BuildOptions {
    /// Options for an engine, everything else at its default.
    pub fn new(prepare: PrepareOptions, output: impl Into<PathBuf>) -> Self {
        BuildOptions {
            prepare,
            output: output.into(),
            workspace: None,
            memory_budget: None,
            auxiliary_streams: 0,
            compute_capabilities: vec![],
            accuracy_floor: None,
            lean: true,
            verify: true,
            emit_onnx: None,
            force: false,
        }
    }

    fn workspace_bytes(&self) -> u64 {
        self.workspace.map_or(DEFAULT_WORKSPACE_BYTES, ByteSize::bytes)
    }

    fn floor(&self) -> AccuracyFloor {
        let default = match self.prepare.precision {
            Precision::Fp32 => AccuracyFloor::default(),
            Precision::Fp16 => DEFAULT_HALF_FLOOR,
            Precision::Int8 | Precision::Auto => DEFAULT_FLOOR,
        };
        self.accuracy_floor.unwrap_or(default)
    }
}

/// What a build did.
#[derive(Clone, Debug)]
pub struct BuildOutcome {
    /// The engine file.
    pub engine: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether the engine was there already and nothing had changed.
    pub up_to_date: bool,
}

/// Builds an engine, or finds that it is there already.
///
/// # Errors
/// Those of the steps. Whatever fails, an older engine and manifest stay as they were and no partial file is left.
pub fn build(options: &BuildOptions, progress: &Arc<dyn Progress>, cancel: &CancelFlag) -> Result<BuildOutcome> {
    let start = Instant::now();
    check_targets(options)?;
    let _lock = OutputLock::acquire(&options.output)?;
    let mut inputs = InputDigests::start(&options.prepare);
    let libraries = Libraries::load()?;
    if !options.force
        && let Some(manifest) = earlier_manifest(options)
        && manifest.fingerprint == fingerprint(options, inputs.wait()?, &libraries)
        && stands(options, &manifest)
    {
        return Ok(BuildOutcome { engine: options.output.clone(), manifest, up_to_date: true });
    }
    let asked = options;
    let (options, made) = make_fitting(asked, &libraries, &Watch { progress, cancel })?;
    let options = &options;
    let Made { mut prepared, verification, compiled, memory, activation, form, notes } = made;
    notes.iter().for_each(|note| progress.note(note));
    if let Some(path) = &options.emit_onnx {
        write_model(&prepared, path, progress.as_ref())?;
    }
    progress.step(Stage::Write.name());
    let write_start = Instant::now();
    let (sha256, staged) = std::thread::scope(|scope| {
        let digest = scope.spawn(|| digest::of_bytes(&compiled.engine));
        let staged = StagedFile::write(&options.output, &compiled.engine);
        (digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), staged)
    });
    let (engine, staged) = (FileInfo { sha256, bytes: compiled.engine.len() as u64 }, staged?);
    prepared.timings.add(Stage::Write, write_start.elapsed().as_secs_f64() * 1e3);
    let mut manifest = manifest(options, &prepared, verification, memory, engine, &libraries.tensorrt);
    manifest.form = form;
    manifest.activation = Some(activation);
    let inputs = inputs.wait()?;
    manifest.fingerprint = fingerprint(asked, inputs, &libraries);
    manifest.model.sha256.clone_from(&inputs.model);
    manifest.auxiliary_streams = compiled.auxiliary_streams;
    manifest.timings_ms.insert("total".into(), start.elapsed().as_secs_f64() * 1e3);
    let staged_manifest = StagedFile::write(&Manifest::path_for(&options.output), manifest.to_json().as_bytes())?;
    staged.commit()?;
    staged_manifest.commit()?;
    Ok(BuildOutcome { engine: options.output.clone(), manifest, up_to_date: false })
}

/// An engine in memory, and everything there is to say of it.
pub(crate) struct Made {
    prepared: Prepared,
    verification: Option<(Verification, String)>,
    compiled: Compiled,
    pub(crate) memory: MemoryInfo,
    pub(crate) activation: ActivationAccount,
    form: Option<LeanForm>,
    notes: Vec<String>,
}

/// Makes the engine within the memory budget: at the largest batch that fits, where the batch is for us to choose. What an accuracy floor keeps in FP16 may take more
/// than was measured, so that a smaller batch is needed.
fn make_fitting(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<(BuildOptions, Made)> {
    let mut options = options.clone();
    let Some(Fit { mut batch, measured }) = fit(&options, libraries, watch.progress, watch.cancel)? else {
        let made = make(&options, libraries, watch)?;
        check_budget(&made.memory, options.memory_budget)?;
        return Ok((options, made));
    };
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
    let compiled = compile(
        &libraries.tensorrt,
        &prepared.model,
        &prepared.shapes,
        &compile_options(options),
        &mut prepared.timings,
        watch,
    )?;
    cancel.check()?;
    let io_bytes = largest_io_bytes(&libraries.onnxruntime, &prepared.model, &prepared.shapes)?;
    if io_bytes.is_none() {
        progress.note("the size of an output depends on the data: inputs and outputs are not counted");
    }
    let memory = memory(&compiled, io_bytes.unwrap_or_default(), &prepared.model);
    let activation = account(&at_largest_shapes(&libraries.onnxruntime, &prepared.model, &prepared.shapes)?);
    let form = lean.map(|lean| lean.choice.form).filter(|form| !form.is_plain());
    Ok(Made { prepared, verification, compiled, memory, activation, form, notes })
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

/// Finds the form of an INT8 network that takes least memory by building it with scales that mean nothing. None where that was not asked for.
/// A calibration cache names the tensors of the network as it is; those that a form adds and that none of them tells of stay in half precision.
fn lean_form(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Option<Lean>> {
    if !options.lean || options.prepare.precision != Precision::Int8 {
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
    let graph = crate::prepare::typed_graph(&libraries.onnxruntime, repaired.model, "form")?;
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
    let depthwise = !graph.node_ids().any(|node| graph.attribute_int(node, "group").unwrap_or(1) > 1)
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

/// What is written must not lie on what is read, nor two outputs on one another.
fn check_targets(options: &BuildOptions) -> Result<()> {
    let manifest = Manifest::path_for(&options.output);
    if manifest.is_dir() {
        return Err(Error::write(&manifest, std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    let mut targets = vec![options.output.clone(), manifest];
    if let Some(path) = &options.emit_onnx {
        targets.extend([path.clone(), trtforge_graph::data_path(path)]);
    }
    check_clashes(&options.prepare.model, &targets)
}

/// Both libraries.
pub(crate) struct Libraries {
    onnxruntime: OnnxRuntime,
    tensorrt: TensorRt,
}

impl Libraries {
    /// Loads them side by side: each takes tens of milliseconds.
    pub(crate) fn load() -> Result<Self> {
        let (onnxruntime, tensorrt) = std::thread::scope(|scope| {
            let onnxruntime = scope.spawn(OnnxRuntime::load);
            let tensorrt = TensorRt::load();
            (onnxruntime.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), tensorrt)
        });
        Ok(Libraries { onnxruntime: onnxruntime?, tensorrt: tensorrt? })
    }
}

/// Digests of the model and the samples, computed while the build goes on; nothing waits for them before they are
/// needed.
#[derive(Default)]
pub(crate) struct InputDigests {
    thread: Option<JoinHandle<Result<(String, String)>>>,
    model: String,
    samples: String,
}

impl InputDigests {
    pub(crate) fn start(options: &PrepareOptions) -> Self {
        let options = options.clone();
        let thread = std::thread::spawn(move || Ok((digest::of_model(&options.model)?, sample_digest(&options)?)));
        InputDigests { thread: Some(thread), ..InputDigests::default() }
    }

    pub(crate) fn wait(&mut self) -> Result<&Self> {
        if let Some(thread) = self.thread.take() {
            (self.model, self.samples) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(self)
    }
}

/// Digest of everything that the engine depends on.
pub(crate) fn fingerprint(options: &BuildOptions, inputs: &InputDigests, libraries: &Libraries) -> String {
    let prepare = &options.prepare;
    let keep: Vec<String> = prepare.keep.iter().map(|keep| format!("{:?}:{}", keep.precision, keep.pattern)).collect();
    let description = serde_json::json!({
        "trtforge": env!("CARGO_PKG_VERSION"),
        "tensorrt": libraries.tensorrt.version().to_string(),
        "flavour": format!("{:?}", libraries.tensorrt.flavour()),
        "onnxruntime": libraries.onnxruntime.version().to_string(),
        "model": inputs.model,
        "precision": prepare.precision.name(),
        "shapes": prepare.shapes,
        "batch": prepare.batch,
        "samples": inputs.samples,
        "sample_count": prepare.sample_count,
        "max_unreadable": prepare.max_unreadable,
        "preprocess": prepare.preprocess.as_ref().map(|preprocess| format!("{preprocess:?}")),
        "observe_ranges": prepare.observe_ranges,
        "keep": keep,
        "half_io": prepare.half_io,
        "int8": format!("{:?}", Int8Options { threads: 0, force: false, ..prepare.int8.clone() }),
        "cache": prepare.int8.cache.as_deref().and_then(|cache| digest::of_file(cache).ok()),
        "lean": options.lean,
        "workspace": options.workspace_bytes(),
        "memory_budget": options.memory_budget,
        "auxiliary_streams": options.auxiliary_streams,
        "compute_capabilities": options.compute_capabilities,
        "floor": options.floor(),
        "verify": options.verify,
        "emit_onnx": options.emit_onnx,
    });
    digest::of_bytes(description.to_string().as_bytes())
}

fn sample_digest(options: &PrepareOptions) -> Result<String> {
    match &options.samples {
        SampleSource::Synthetic => Ok("synthetic".into()),
        SampleSource::Path(path) => Ok(digest::of_readable_files(&crate::samples::files_of(path)?)),
        SampleSource::Named(files) => Ok(digest::of_readable_files(&files.values().cloned().collect::<Vec<_>>())),
    }
}

/// The manifest of an earlier build that might answer this one.
fn earlier_manifest(options: &BuildOptions) -> Option<Manifest> {
    let manifest = Manifest::read(&Manifest::path_for(&options.output)).ok()?;
    options.prepare.dump_after.is_empty().then_some(manifest)
}

/// Whether everything that an earlier build wrote is there and as its manifest says.
fn stands(options: &BuildOptions, manifest: &Manifest) -> bool {
    let emitted = options.emit_onnx.as_ref().is_none_or(|path| path.exists());
    emitted && digest::of_file(&options.output).is_ok_and(|sha256| sha256 == manifest.engine.sha256)
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

fn manifest(
    options: &BuildOptions,
    prepared: &Prepared,
    verification: Option<(Verification, String)>,
    memory: MemoryInfo,
    engine: FileInfo,
    tensorrt: &TensorRt,
) -> Manifest {
    let (accuracy, verified_on) =
        verification.map_or((vec![], None), |(verification, on)| (verification.outputs, Some(on)));
    Manifest {
        schema: SCHEMA,
        trtforge: env!("CARGO_PKG_VERSION").into(),
        tensorrt: TensorRtInfo {
            flavour: format!("{:?}", tensorrt.flavour()).to_lowercase(),
            version: tensorrt.version().to_string(),
        },
        model: ModelInfo {
            path: options.prepare.model.clone(),
            sha256: String::new(),
            opset: prepared.reference.opset("").unwrap_or_default(),
        },
        engine,
        precision: precision_info(options, prepared),
        calibration: prepared.decision.as_ref().map(|decision| decision.calibration.clone()),
        form: None,
        shapes: prepared.shapes.ranges.clone(),
        memory,
        accuracy,
        verified_on,
        workspace_bytes: options.workspace_bytes(),
        auxiliary_streams: options.auxiliary_streams,
        compute_capabilities: options.compute_capabilities.clone(),
        timings_ms: prepared.timings.iter().map(|(stage, ms)| (stage.to_owned(), ms)).collect(),
        fingerprint: String::new(),
        nodes: planned_nodes(prepared),
        activation: None,
    }
}

fn precision_info(options: &BuildOptions, prepared: &Prepared) -> PrecisionInfo {
    let decided = prepared.table.counts();
    let nodes = if prepared.table.rows().is_empty() {
        PrecisionCounts { fp32: node_count(&prepared.model), ..decided }
    } else {
        decided
    };
    let quantized = prepared.decision.as_ref();
    let left = |row: &&PrecisionRow| quantized.is_some() && IN_INT8.contains(&row.operator.as_str());
    let kept = prepared
        .table
        .rows()
        .iter()
        .filter(|row| row.precision == NodePrecision::Fp32 || row.precision == NodePrecision::Fp16 && left(row));
    let kept = kept.map(|row| KeptNode { node: row.node.clone(), reason: row.reason.clone() }).collect();
    let int8_flops = quantized.map(|decision| decision.int8_share);
    PrecisionInfo { requested: options.prepare.precision.name().into(), nodes, kept, int8_flops }
}

/// What every node computes in; nothing where they are more than [`MOST_LISTED_NODES`].
fn planned_nodes(prepared: &Prepared) -> Vec<PlannedNode> {
    let rows = prepared.table.rows();
    let nodes: Vec<PlannedNode> = match (rows, Graph::new(prepared.model.clone())) {
        ([], Ok(graph)) => graph.node_ids().map(|node| PlannedNode::in_32_bits(&graph, node)).collect(),
        _ => rows.iter().map(PlannedNode::from).collect(),
    };
    if nodes.len() > MOST_LISTED_NODES { Vec::new() } else { nodes }
}

fn node_count(model: &Model) -> usize {
    Graph::new(model.clone()).map_or(0, |graph| graph.node_ids().count())
}
