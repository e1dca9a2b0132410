//! One command's work: ONNX model in, verified engine and manifest out.

use crate::compile::{CompileOptions, Watch};
use crate::config::AccuracyFloor;
use crate::int8::{DEFAULT_FLOOR, Int8Options};
use crate::lean::FormMemory;
use crate::make::{Made, Parts, make_fitting};
use crate::manifest::{
    FileInfo, KeptNode, MOST_LISTED_NODES, Manifest, MemoryInfo, ModelInfo, PlannedNode, PrecisionInfo, SCHEMA,
    TensorRtInfo,
};
use crate::output::{OutputLock, StagedFile, check_clashes};
use crate::precision::{NodePrecision, Precision, PrecisionCounts, PrecisionRow};
use crate::prepare::{PrepareOptions, Prepared};
use crate::quantize::write_model;
use crate::samples::SampleSource;
use crate::segments::{self, Stages, bundle};
use crate::size::ByteSize;
use crate::stage::Stage;
use crate::verify::Verification;
use crate::written::Written;
use crate::{CancelFlag, Error, Progress, Result, digest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use trtforge_graph::{Graph, Model};
use trtforge_onnxruntime::OnnxRuntime;
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
    /// Whether the network is cut into stages that run one after another, and into how many.
    pub stages: Option<Stages>,
    /// Streams beside the main one; 0, the default, takes the least memory.
    pub auxiliary_streams: u32,
    /// Compute capabilities, for example `8.6`.
    pub compute_capabilities: Vec<String>,
    /// Least accuracy of every output; 20 dB for FP16 where nothing is said.
    pub accuracy_floor: Option<AccuracyFloor>,
    /// Whether an INT8 network, or one in stages, may be laid out anew for the least memory: bands of rows, merged and split convolutions.
    pub lean: bool,
    /// Forms that were found before; they are not searched for again.
    pub forms: Arc<FormMemory>,
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
            stages: None,
            auxiliary_streams: 0,
            compute_capabilities: vec![],
            accuracy_floor: None,
            lean: true,
            forms: Arc::default(),
            verify: true,
            emit_onnx: None,
            force: false,
        }
    }

    pub(crate) fn workspace_bytes(&self) -> u64 {
        self.workspace.map_or(DEFAULT_WORKSPACE_BYTES, ByteSize::bytes)
    }

    pub(crate) fn compile_options(&self) -> CompileOptions {
        CompileOptions {
            workspace_bytes: self.workspace_bytes(),
            auxiliary_streams: self.auxiliary_streams,
            compute_capabilities: self.compute_capabilities.clone(),
            formats: BTreeMap::new(),
        }
    }

    pub(crate) fn floor(&self) -> AccuracyFloor {
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
    let Made { mut prepared, verification, parts, memory, activation, form, notes } = made;
    notes.iter().for_each(|note| progress.note(note));
    if let Some(path) = &options.emit_onnx {
        write_model(&prepared, path, progress.as_ref())?;
    }
    progress.step(Stage::Write.name());
    let write_start = Instant::now();
    let (engine, written) = Written::write(&options.output, &parts)?;
    prepared.timings.add(Stage::Write, write_start.elapsed().as_secs_f64() * 1e3);
    let mut manifest = manifest(options, &prepared, verification, memory, engine, &libraries.tensorrt);
    manifest.form = form;
    manifest.activation = matches!(parts, Parts::Whole(_)).then_some(activation);
    manifest.stages = written.stages();
    let inputs = inputs.wait()?;
    manifest.fingerprint = fingerprint(asked, inputs, &libraries);
    manifest.model.sha256.clone_from(&inputs.model);
    manifest.auxiliary_streams = parts.auxiliary_streams();
    manifest.timings_ms.insert("total".into(), start.elapsed().as_secs_f64() * 1e3);
    let staged_manifest = StagedFile::write(&Manifest::path_for(&options.output), manifest.to_json().as_bytes())?;
    written.commit()?;
    staged_manifest.commit()?;
    Ok(BuildOutcome { engine: options.output.clone(), manifest, up_to_date: false })
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
    pub(crate) onnxruntime: OnnxRuntime,
    pub(crate) tensorrt: TensorRt,
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
        "stages": options.stages.map(|stages| (stages.to_string(), segments::REVISION)),
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
    let engine = digest::of_file(&options.output).is_ok_and(|sha256| sha256 == manifest.engine.sha256);
    emitted && engine && bundle::stand(&options.output, &manifest.stages)
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
        stages: vec![],
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
