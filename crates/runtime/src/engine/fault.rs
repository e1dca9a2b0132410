//! What does not fit about an engine file.

use std::path::PathBuf;

/// What does not fit about an engine file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineFault {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// The file is cut short.
    #[error("it is cut short: {actual_bytes} bytes of at least {expected_bytes}")]
    Truncated {
        /// Bytes that it has.
        actual_bytes: u64,
        /// Bytes that it must have.
        expected_bytes: u64,
    },
    /// The file starts like no TensorRT plan and no ONNX model.
    #[error("it is no TensorRT engine: it starts with {start}")]
    NotAnEngine {
        /// Its first bytes, in hexadecimal.
        start: String,
    },
    /// The manifest beside it is of another engine.
    #[error("its SHA-256 is {actual}, but the manifest beside it is of {expected}")]
    Digest {
        /// SHA-256 in the manifest.
        expected: String,
        /// SHA-256 of the file.
        actual: String,
    },
    /// The manifest beside it cannot be read.
    #[error("the manifest beside it cannot be read: {reason}")]
    Manifest {
        /// Why.
        reason: String,
    },
    /// The manifest is of a newer layout.
    #[error("the manifest beside it has schema {found}; this program reads up to {newest}")]
    Schema {
        /// Its schema.
        found: u32,
        /// The newest schema this program reads.
        newest: u32,
    },
    /// Another kind of TensorRT built it.
    #[error("it was built by TensorRT ({built}), and this program runs TensorRT ({here})")]
    Flavour {
        /// Flavour that built it.
        built: String,
        /// Flavour of this program.
        here: String,
    },
    /// Another version of TensorRT built it.
    #[error("it was built by TensorRT {built}, and {here} is here")]
    Version {
        /// Version that built it.
        built: String,
        /// Version that is here.
        here: String,
    },
    /// It is not for this GPU.
    #[error("it was built for compute capability {}, and this GPU has {here}", built.join(", "))]
    ComputeCapability {
        /// Capabilities it was built for.
        built: Vec<String>,
        /// The GPU's.
        here: String,
    },
    /// TensorRT itself says that it will not run here.
    #[error("TensorRT says that it will not run here: {}", reasons.join(", "))]
    Refused {
        /// Its reasons.
        reasons: Vec<String>,
    },
    /// A tensor of it has a type or a form that sessions do not handle.
    #[error("its tensor {name:?} cannot be handled: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Why.
        reason: String,
    },
    /// There is no stage in it.
    #[error("it has no stages")]
    NoStages,
    /// A tensor of a stage fits no other stage.
    #[error("its stage {stage:?} does not fit in at {name:?}: {reason}")]
    StageTensor {
        /// The stage.
        stage: String,
        /// The tensor.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// Two stages, or a stage and what was loaded for it, say different things of a tensor.
    #[error("its stage {stage:?} has {name:?} as {actual}, and elsewhere it is {expected}")]
    StageDisagrees {
        /// The stage.
        stage: String,
        /// The tensor.
        name: String,
        /// Type and dimensions elsewhere.
        expected: String,
        /// Type and dimensions in this stage.
        actual: String,
    },
    /// An output of the whole that no stage makes.
    #[error("no stage of it makes its output {name:?}")]
    StageOutput {
        /// The output.
        name: String,
    },
    /// The inputs of the whole are not what its stages read.
    #[error("its inputs are said to be {named:?}, and its stages read {read:?}")]
    StageInputs {
        /// The inputs named.
        named: Vec<String>,
        /// What stages read and none makes.
        read: Vec<String>,
    },
    /// A stage is of a kind that cannot run with the others.
    #[error("its stage {stage:?} cannot run with the others: {reason}")]
    StageKind {
        /// The stage.
        stage: String,
        /// Why.
        reason: &'static str,
    },
    /// What says of which stages it is made cannot be read.
    #[error("it does not say of which stages it is made: {reason}")]
    Bundle {
        /// Why.
        reason: String,
    },
    /// A bundle of stages is of a newer layout.
    #[error("it is a bundle of stages of layout {found}; this program reads up to {newest}")]
    BundleVersion {
        /// Its layout.
        found: u32,
        /// The newest layout this program reads.
        newest: u32,
    },
    /// The file of a stage is not there.
    #[error("its stage {stage} is in {}, which is not there", path.display())]
    StageMissing {
        /// Number of the stage, from 1.
        stage: usize,
        /// The file.
        path: PathBuf,
    },
    /// The file of a stage is cut short.
    #[error("its stage {stage}, {}, is cut short: {actual_bytes} bytes of {expected_bytes}", path.display())]
    StageTruncated {
        /// Number of the stage, from 1.
        stage: usize,
        /// The file.
        path: PathBuf,
        /// Bytes that it has.
        actual_bytes: u64,
        /// Bytes that it must have.
        expected_bytes: u64,
    },
    /// The file of a stage is another than the bundle was made with.
    #[error("its stage {stage}, {}, was changed: its SHA-256 is {actual}, not {expected}", path.display())]
    StageAltered {
        /// Number of the stage, from 1.
        stage: usize,
        /// The file.
        path: PathBuf,
        /// SHA-256 in the bundle.
        expected: String,
        /// SHA-256 of the file.
        actual: String,
    },
}

impl EngineFault {
    /// What to do next, where that can be told.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Empty | Self::Truncated { .. } => "copy or build the engine again",
            Self::NotAnEngine { .. } => {
                "give an .engine file that `trtforge build` or TensorRT wrote, or an .onnx model"
            }
            Self::Digest { .. } => "engine and manifest belong together: copy both, or remove the manifest",
            Self::Manifest { .. } => "copy the manifest again, or remove it to load the engine without these checks",
            Self::Schema { .. } => "use a newer trtforge",
            Self::Flavour { .. } | Self::Version { .. } => "build the engine with the TensorRT that runs it",
            Self::ComputeCapability { .. } => "build it with `--compute-capability` of this GPU",
            Self::Refused { .. } => {
                "`trtforge doctor` tells this GPU's compute capability and whether this TensorRT serves it; \
                 build the engine for it with `--compute-capability`"
            }
            Self::Bundle { .. } => "build it again with `trtforge build --stages`",
            Self::BundleVersion { .. } => "use a newer trtforge",
            Self::StageMissing { .. } => "an engine of stages is several files: copy all of them into one folder",
            Self::StageTruncated { .. } | Self::StageAltered { .. } => {
                "copy all files of the engine again, or build it again"
            }
            Self::NoStages
            | Self::StageTensor { .. }
            | Self::StageDisagrees { .. }
            | Self::StageOutput { .. }
            | Self::StageInputs { .. }
            | Self::StageKind { .. } => "take all stages from one cut of one network",
            Self::Tensor { .. } => return None,
        };
        Some(text.to_owned())
    }
}
