//! Everything that can go wrong in a build, as data.
//!
//! The message says what and where; the cause is a source; what to do next is [`Error::hint`], rendered by the caller.

use crate::budget::BudgetMiss;
use crate::calibration::{CacheError, Difference};
use crate::counted;
use crate::floor::FloorMiss;
use crate::precision::PrecisionRow;
use crate::quantization::existing::Finding;
use crate::samples::Unreadable;
use crate::size::format_bytes;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed build, quantization or comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the user's could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An output could not be written; nothing is left half-written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A config that does not parse.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The config file.
        path: PathBuf,
        /// The parser's words with line and column.
        reason: String,
    },
    /// A request that contradicts itself or the model.
    #[error("{0}")]
    Usage(String),
    /// A shape option that does not fit the model.
    #[error("shape of input `{input}`: {reason}")]
    Shape {
        /// Input named by the option.
        input: String,
        /// What does not fit.
        reason: String,
        /// The model's inputs with their types, to choose from.
        inputs: Vec<String>,
    },
    /// A precision that only an engine can have: `auto` compares what engines take.
    #[error("--precision {precision} compares engines, and none is built here")]
    PrecisionUnavailable {
        /// The precision asked for.
        precision: &'static str,
    },
    /// A model that cannot be read or is not valid.
    #[error("model {}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<trtforge_graph::Error>,
    },
    /// A graph operation failed inside a pass: the pass produced something wrong, or the model is not valid.
    #[error("pass `{pass}`")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// What the graph refused.
        #[source]
        source: Box<trtforge_graph::Error>,
    },
    /// A pass that still finds something to change after its last round.
    #[error("pass `{pass}` did not come to rest in {rounds} rounds")]
    NoFixedPoint {
        /// The pass.
        pass: &'static str,
        /// Rounds it was given.
        rounds: usize,
    },
    /// A value that should be known is not.
    #[error("no type is known for value `{value}`, which node `{node}` needs")]
    UnknownType {
        /// The value.
        value: String,
        /// A node that reads or writes it.
        node: String,
    },
    /// An operator whose definition changed and cannot be carried to the wanted operator set.
    #[error("node `{node}`: {operator} cannot be raised from opset {from} to {to}: {reason}")]
    Opset {
        /// The node.
        node: String,
        /// Its operator.
        operator: String,
        /// Opset of the model.
        from: i64,
        /// Opset wanted.
        to: i64,
        /// What stands in the way.
        reason: &'static str,
    },
    /// Two models that cannot be fed the same numbers.
    #[error("the models do not take the same inputs: `{input}` is {} in the reference and {} in the candidate",
        reference.as_deref().unwrap_or("missing"), candidate.as_deref().unwrap_or("missing"))]
    InputsDiffer {
        /// The input.
        input: String,
        /// Its type in the reference, open dimensions settled; `None` where the model has no such input.
        reference: Option<String>,
        /// Its type in the candidate.
        candidate: Option<String>,
    },
    /// A model that comes quantized in a way that TensorRT does not take and that cannot be converted.
    #[error("the model is quantized in a way that TensorRT does not take: {}", describe_findings(findings))]
    Quantized {
        /// What stands in the way, in running order; never empty.
        findings: Vec<Finding>,
    },
    /// ONNX Runtime failed or is missing.
    #[error(transparent)]
    OnnxRuntime(#[from] trtforge_onnxruntime::Error),
    /// TensorRT failed or is missing.
    #[error(transparent)]
    TensorRt(#[from] trtforge_tensorrt::Error),
    /// A tensor or weight that should be quantized has no usable scale.
    #[error("`{tensor}` cannot be quantized: it has no positive, finite scale")]
    NoScale {
        /// The tensor.
        tensor: String,
    },
    /// A sample image failed.
    #[error("sample image {}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: trtforge_vision::Error,
    },
    /// A folder or list without images.
    #[error("sample inputs: {} holds no image ({extensions})", path.display())]
    NoImages {
        /// The folder or list.
        path: PathBuf,
        /// What an image's name ends in.
        extensions: String,
    },
    /// More sample images than allowed cannot be read, or none is left.
    #[error("{}{count} of {images} sample images cannot be read{}", at_least(*count, *images), describe_unreadable(first, *count))]
    UnreadableImages {
        /// How many could not be read when the work stopped.
        count: usize,
        /// How many were allowed.
        limit: usize,
        /// How many images there are.
        images: usize,
        /// The first few of them.
        first: Vec<Unreadable>,
    },
    /// A value to be quantized is NaN or infinite on a sample.
    #[error("tensor `{tensor}` is {value} on {sample}")]
    NonFiniteActivation {
        /// The tensor.
        tensor: String,
        /// The element.
        value: f32,
        /// The sample.
        sample: String,
        /// The first tensor of the model, in the order of computation, that is not finite on this sample.
        origin: String,
    },
    /// Saved histograms that were made from something else.
    #[error("the histograms in {} were made from something else: {}", path.display(), join(differences, "; "))]
    OtherHistograms {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// Calibration without real inputs.
    #[error("calibration needs real inputs")]
    NoCalibrationData,
    /// A calibration cache to read that is not there, and nothing real to make it from.
    #[error("calibration cache {} does not exist, and there are no images to make it from", path.display())]
    NoCache {
        /// The cache.
        path: PathBuf,
    },
    /// A model of which nothing can compute in INT8.
    #[error("{}", describe_unquantized(rows))]
    NothingToCalibrate {
        /// The nodes with weights, each with the reason why it stays above INT8; none where the model has no such node.
        rows: Vec<PrecisionRow>,
        /// How many of them the user's `--keep` takes.
        kept: usize,
    },
    /// A calibration was stopped; what it has seen so far is kept.
    #[error("interrupted after {done} of {total} {unit}; what was seen is kept in {}", path.display())]
    CalibrationInterrupted {
        /// Images seen.
        done: usize,
        /// Images there are.
        total: usize,
        /// What they are called.
        unit: &'static str,
        /// Where the histograms are.
        path: PathBuf,
    },
    /// Sample inputs that do not serve the model.
    #[error("sample inputs: {0}")]
    Samples(String),
    /// The rewritten model is worse than the floor.
    #[error("{0}")]
    AccuracyFloor(Box<FloorMiss>),
    /// A floor was asked for and an output cannot be held against it.
    #[error("the accuracy floor cannot be checked: {reason}")]
    Unjudged {
        /// Which output, and why.
        reason: String,
    },
    /// TensorRT's scratch memory passes the workspace limit.
    #[error("the engine needs {} of workspace and the limit is {}", format_bytes(*need), format_bytes(*limit))]
    Workspace {
        /// Bytes needed.
        need: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Weights, activation and buffers pass the budget.
    #[error("{0}")]
    MemoryBudget(Box<BudgetMiss>),
    /// The network cannot be cut into as many stages.
    #[error("the network cannot be cut into {asked} stages: {}{}", most_text(*most), obstacle.as_ref().map_or_else(String::new, |name| format!("; the size of `{name}` is not known before a run")))]
    Stages {
        /// Stages asked for.
        asked: usize,
        /// The most that it can be cut into.
        most: usize,
        /// A value that keeps places from being cut, because its size is not known.
        obstacle: Option<String>,
    },
    /// Another build is writing the same file.
    #[error("another build is writing {}", path.display())]
    Busy {
        /// The output.
        path: PathBuf,
    },
    /// The caller asked to stop.
    #[error("interrupted; nothing was written")]
    Cancelled,
    /// A calibration cache that is none.
    #[error("calibration cache {}", path.display())]
    CalibrationCache {
        /// The cache.
        path: PathBuf,
        /// The line and what is wrong with it.
        #[source]
        source: Box<CacheError>,
    },
    /// A calibration cache that was made from something else.
    #[error("calibration cache {} does not belong to this calibration: {}", path.display(), join(differences, "; "))]
    StaleCache {
        /// The cache.
        path: PathBuf,
        /// In what it differs.
        differences: Vec<Difference>,
    },
    /// A calibration cache of another model.
    #[error("calibration cache {} does not fit the model: {}", path.display(), describe_fit(missing, foreign))]
    ForeignCache {
        /// The cache.
        path: PathBuf,
        /// Tensors of the model that need a scale and have none.
        missing: Vec<String>,
        /// Tensors of the cache that the model does not have.
        foreign: Vec<String>,
    },
    /// What lies beside a calibration cache is no sidecar of ours.
    #[error("calibration sidecar {}: {reason}", path.display())]
    Sidecar {
        /// The sidecar.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A manifest that is no manifest of ours.
    #[error("manifest {}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Names of a list that a message spells out.
const NAMES_SHOWN: usize = 5;

fn join<T: ToString>(items: &[T], separator: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

fn describe_fit(missing: &[String], foreign: &[String]) -> String {
    let part = |names: &[String], what: &str| {
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let listed = join(&names[..names.len() - more], "`, `");
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| format!("{what} `{listed}`{rest}"))
    };
    let parts = [part(missing, "it has no scale for"), part(foreign, "the model does not have")];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn describe_unquantized(rows: &[PrecisionRow]) -> String {
    if rows.is_empty() {
        return "nothing can compute in INT8: the model has no convolution and no matrix product".into();
    }
    let more = rows.len().saturating_sub(NAMES_SHOWN);
    let named = rows.iter().take(NAMES_SHOWN).map(|row| format!("\n{} `{}`: {}", row.operator, row.node, row.reason));
    let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
    let nodes = counted(rows.len(), "node");
    format!("nothing can compute in INT8: of {nodes} with weights none can{}{rest}", named.collect::<String>())
}

fn describe_findings(findings: &[Finding]) -> String {
    let first = findings.first().map_or_else(String::new, Finding::to_string);
    match findings.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more)", count - 1),
    }
}

/// Reading ends where too many images failed, so there may be more.
fn at_least(count: usize, images: usize) -> &'static str {
    if count < images { "at least " } else { "" }
}

fn describe_unreadable(first: &[Unreadable], count: usize) -> String {
    let lines = first.iter().map(|image| format!("\n{}: {}", image.file, image.reason));
    let rest = if count > first.len() { "\n..." } else { "" };
    lines.collect::<String>() + rest
}

impl Error {
    /// A failed read of `path`.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Error::Io { path: path.to_owned(), source }
    }

    /// A failed write of `path`.
    pub fn write(path: &Path, source: std::io::Error) -> Self {
        Error::Write { path: path.to_owned(), source }
    }

    pub(crate) fn model(path: &Path, source: trtforge_graph::Error) -> Self {
        Error::Model { path: path.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn pass(pass: &'static str) -> impl FnOnce(trtforge_graph::Error) -> Self {
        move |source| Error::Pass { pass, source: Box::new(source) }
    }

    /// What the user can do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Model { source, .. } | Error::Pass { source, .. } => source.hint(),
            Error::OnnxRuntime(source) => source.hint(),
            Error::TensorRt(source) => source.hint(),
            Error::Image { source, .. } => source.hint(),
            Error::Shape { inputs, .. } => Some(format!(
                "the model's inputs are {}; give --opt-shape NAME=SHAPE for each open one",
                inputs.join(", ")
            )),
            Error::NoImages { .. } => Some(
                "give a folder that holds images itself, a text file with one image path a line, an image or an .npz"
                    .into(),
            ),
            Error::UnreadableImages { count, images, .. } if count >= images => {
                Some("give a folder of images, or a list of them, with --calibration".into())
            }
            Error::UnreadableImages { limit, .. } => {
                Some(format!("replace these files, or allow more than {limit} with --max-unreadable"))
            }
            Error::NonFiniteActivation { tensor, origin, .. } if tensor == origin => {
                Some("look at the node that makes it: its inputs are finite".into())
            }
            Error::NonFiniteActivation { origin, .. } => {
                Some(format!("the first value that is not finite there is `{origin}`"))
            }
            Error::OtherHistograms { .. } => Some("write to another file with -o, or start anew with --force".into()),
            Error::NoCalibrationData => Some(
                "give a folder or list of images, or an .npz with --calibration, or `calibration:` in a config".into(),
            ),
            Error::NoCache { .. } => Some(
                "check its path, or make it from images with --calibration; without --calibration-cache made-up inputs serve for a trial".into(),
            ),
            Error::NothingToCalibrate { rows, kept } if *kept == rows.len() && *kept > 0 => {
                Some("let --keep match fewer nodes, or build with --precision fp16".into())
            }
            Error::NothingToCalibrate { kept: 1.., .. } => {
                Some("build with --precision fp16, or let --keep match fewer nodes".into())
            }
            Error::NothingToCalibrate { .. } => Some("build with --precision fp16".into()),
            Error::CalibrationInterrupted { .. } => Some("the same command continues from there".into()),
            Error::PrecisionUnavailable { .. } => Some("choose int8 or fp16, or use `trtforge build`".into()),
            Error::AccuracyFloor(miss) => Some(miss.hint()),
            Error::Unjudged { .. } => Some("leave --accuracy-floor out to build without that check".into()),
            Error::Workspace { need, .. } => {
                Some(format!("raise --workspace to at least {}, a little more to be safe", need + need / 50))
            }
            Error::MemoryBudget(miss) => Some(miss.hint()),
            Error::Stages { most: 0..=1, .. } => Some("build it as one engine, without --stages".into()),
            Error::Stages { most, .. } => Some(format!("use --stages {most} or fewer, or --stages auto")),
            Error::Busy { .. } => Some("wait for it to end, or write to another file with -o".into()),
            Error::CalibrationCache { source, .. } => source.fault.hint(),
            Error::StaleCache { .. } => Some("calibrate again, or use it as it is with --force".into()),
            Error::ForeignCache { .. } => Some(
                "calibrate again, or use what fits with --force: tensors without a scale stay in fp16, scales of unknown tensors are left out"
                    .into(),
            ),
            Error::Sidecar { .. } => Some(
                "calibrate again with --force, or delete the sidecar to use the cache like one made elsewhere".into(),
            ),
            Error::Manifest { .. } => Some("build the engine again with --force".into()),
            Error::InputsDiffer { .. } => {
                Some("compare models of one network at one input size; --opt-shape settles open dimensions".into())
            }
            Error::Quantized { .. } => {
                Some("start from the model as it was before it was quantized; it is quantized here".into())
            }
            Error::Opset { .. } => Some("export the model again with the newer opset".into()),
            Error::Write { .. } => Some("choose another place; nothing was left half-written".into()),
            _ => None,
        }
    }
}

fn most_text(most: usize) -> String {
    match most {
        0 | 1 => "there is no place to cut it".to_owned(),
        most => format!("{most} is the most"),
    }
}
