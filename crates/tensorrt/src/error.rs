//! What can go wrong with TensorRT, with the data a person needs to act.
//!
//! Lines that TensorRT logged ride along; hints are separate from messages and are rendered by the
//! command line only.

use std::path::PathBuf;

use trtforge_libraries::{Missing, Unusable};

use crate::{Diagnostic, LogLine, Severity, Version, device::NoDevice};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call to TensorRT did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A library is nowhere to be found.
    #[error("a library is missing")]
    Missing(#[source] Missing),
    /// A library's file is damaged or is not one for this machine.
    #[error("a library cannot be used")]
    Unusable(#[source] Unusable),
    /// The system's loader refused a library.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The library.
        path: PathBuf,
        /// The loader's reason.
        #[source]
        source: libloading::Error,
    },
    /// A library lacks an entry point: it is some other library.
    #[error("{} does not provide {symbol}: it is another library, or another version", path.display())]
    Symbol {
        /// The library.
        path: PathBuf,
        /// The entry point.
        symbol: &'static str,
        /// The loader's reason.
        #[source]
        source: libloading::Error,
    },
    /// A library is of a version that does not fit.
    #[error("{} is version {found}; version {wanted} or a later {}.x is needed", path.display(), wanted.major)]
    Version {
        /// The library.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The version this program was built for.
        wanted: Version,
    },
    /// TensorRT returned no object.
    #[error("TensorRT did not create {what}{}", first_error(log))]
    Create {
        /// What was asked for.
        what: &'static str,
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// A name or a path holds a zero byte, or is not UTF-8.
    #[error("{text:?} cannot be passed to TensorRT as a name")]
    Name {
        /// The name.
        text: String,
    },
    /// The ONNX model was refused.
    #[error("TensorRT cannot take this ONNX model{}", first_diagnostic(diagnostics, log))]
    Parse {
        /// What the parser found wrong.
        diagnostics: Vec<Diagnostic>,
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// Weights given beside the model do not fit an initializer of the model.
    #[error("the model has no initializer `{name}` of {bytes} bytes{}", first_diagnostic(diagnostics, &[]))]
    Weights {
        /// The initializer's name.
        name: String,
        /// Size of the data given.
        bytes: usize,
        /// What the parser said.
        diagnostics: Vec<Diagnostic>,
    },
    /// A network takes one model, and this one has taken one already.
    #[error("the network already holds a model")]
    NetworkFilled,
    /// There is nothing to build: no model was parsed, or parsing failed.
    #[error("the network holds no model")]
    NetworkEmpty,
    /// Objects of two builders were mixed.
    #[error("the {what} belongs to another builder")]
    OtherBuilder {
        /// Which object.
        what: &'static str,
    },
    /// A memory pool must have a size.
    #[error("a limit of 0 bytes for the {pool} pool leaves nothing to work with")]
    EmptyPool {
        /// The pool.
        pool: crate::MemoryPool,
    },
    /// TensorRT did not take a memory limit.
    #[error("TensorRT does not take a limit of {bytes} bytes for the {pool} pool and stays at {kept_bytes}")]
    PoolLimit {
        /// The pool.
        pool: crate::MemoryPool,
        /// The limit asked for.
        bytes: u64,
        /// The limit in force.
        kept_bytes: u64,
    },
    /// TensorRT did not take a setting.
    #[error("TensorRT does not take {setting} = {value}{}", first_error(log))]
    Setting {
        /// The setting.
        setting: &'static str,
        /// The value asked for.
        value: String,
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// An optimisation profile does not fit itself or the network.
    #[error("optimisation profile: input `{input}` {fault}")]
    Profile {
        /// The input.
        input: String,
        /// What is wrong with it.
        fault: ProfileFault,
    },
    /// A build was asked for from within a build, by its progress receiver or listener.
    #[error("a build cannot start from within another one")]
    NestedBuild,
    /// The build failed.
    #[error("TensorRT could not build the engine{}", first_error(log))]
    Build {
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// The network needs more scratch space than the workspace limit allows.
    #[error(
        "the engine does not fit a workspace of {limit_bytes} bytes{}",
        requested_bytes.map(|it| format!(": one piece takes {it} bytes")).unwrap_or_default()
    )]
    OutOfWorkspace {
        /// The limit in force.
        limit_bytes: u64,
        /// The size of one piece that did not fit, where TensorRT tells; the whole may need more.
        requested_bytes: Option<u64>,
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// The progress callback asked for the build to end.
    #[error("the build was cancelled")]
    Cancelled,
    /// The progress callback panicked, which ended the build.
    #[error("the progress callback panicked: {message}")]
    ProgressPanicked {
        /// The panic's message.
        message: String,
    },
    /// There is no GPU to use, or no driver for it.
    #[error("there is no GPU to use on this machine")]
    NoDevice(#[source] NoDevice),
    /// A serialised engine was refused.
    #[error("TensorRT cannot load this engine{}", first_error(log))]
    Deserialize {
        /// The last lines logged.
        log: Vec<LogLine>,
    },
    /// An engine has no such tensor.
    #[error("the engine has no tensor `{name}`; it has {}", tensors.join(", "))]
    NoSuchTensor {
        /// The name asked for.
        name: String,
        /// The engine's tensors.
        tensors: Vec<String>,
    },
    /// Running the engine failed.
    #[error("TensorRT could not {what}{}", first_error(log))]
    Execute {
        /// What was attempted.
        what: &'static str,
        /// The last lines logged.
        log: Vec<LogLine>,
    },
}

/// What is wrong with one input of an optimisation profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileFault {
    /// The network has no input of that name.
    #[error("is not an input of the network, whose inputs are {}", inputs.join(", "))]
    NoSuchInput {
        /// The network's inputs.
        inputs: Vec<String>,
    },
    /// Minimum, optimum and maximum, or profile and network, differ in the number of dimensions.
    #[error("has {expected} dimensions, but {found} are given")]
    Rank {
        /// Dimensions wanted.
        expected: usize,
        /// Dimensions given.
        found: usize,
    },
    /// More dimensions than TensorRT knows.
    #[error("is given {found} dimensions, more than the {most} TensorRT knows")]
    TooManyDimensions {
        /// Dimensions given.
        found: usize,
        /// Most that TensorRT takes.
        most: usize,
    },
    /// The order minimum <= optimum <= maximum is broken, or a dimension is negative.
    #[error(
        "needs 0 <= minimum <= optimum <= maximum in dimension {axis}, but {minimum}, {optimum}, {maximum} are given"
    )]
    Order {
        /// The dimension, from 0.
        axis: usize,
        /// Smallest value given.
        minimum: i64,
        /// Value to tune for.
        optimum: i64,
        /// Largest value given.
        maximum: i64,
    },
    /// The network fixes a dimension and the profile gives another value.
    #[error("has {expected} in dimension {axis}, but the profile gives {found}")]
    FixedDimension {
        /// The dimension, from 0.
        axis: usize,
        /// The network's value.
        expected: i64,
        /// The profile's value.
        found: i64,
    },
    /// An input with open dimensions is in no profile.
    #[error("has open dimensions and profile {profile} gives no shape for it")]
    MissingShape {
        /// Which profile, from 0.
        profile: usize,
    },
    /// An input with open dimensions, and there is no profile at all.
    #[error("has open dimensions and there is no profile")]
    NoProfile,
    /// TensorRT itself refused.
    #[error("is refused by TensorRT")]
    Refused,
}

impl Error {
    /// What to do next, if that can be told.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(missing) => missing.hint(),
            Self::Unusable(unusable) => unusable.hint(),
            Self::Open { .. } | Self::Symbol { .. } | Self::Version { .. } => {
                Some(trtforge_libraries::TENSORRT.get.to_owned())
            }
            Self::Profile { fault, .. } => Some(fault.hint().to_owned()),
            Self::NoDevice(no_device) => no_device.hint(),
            Self::OutOfWorkspace { .. } => {
                Some("allow a larger workspace, or forbid auxiliary streams, which share it".to_owned())
            }
            Self::EmptyPool { .. } => Some("give a size above 0, such as 512MiB".to_owned()),
            _ => None,
        }
    }

    /// The lines TensorRT logged on the way to this error; empty where there are none.
    #[must_use]
    pub fn log(&self) -> &[LogLine] {
        match self {
            Self::Create { log, .. }
            | Self::Parse { log, .. }
            | Self::Setting { log, .. }
            | Self::Build { log }
            | Self::OutOfWorkspace { log, .. }
            | Self::Deserialize { log }
            | Self::Execute { log, .. } => log,
            _ => &[],
        }
    }
}

impl ProfileFault {
    fn hint(&self) -> &'static str {
        match self {
            Self::NoSuchInput { .. } => "name one of the model's inputs",
            Self::MissingShape { .. } | Self::NoProfile => "give the input's minimum, optimum and maximum shape",
            _ => "correct the input's minimum, optimum and maximum shape",
        }
    }
}

/// The first error of a log as the end of a sentence; nothing when there is none.
fn first_error(log: &[LogLine]) -> String {
    log.iter().find(|line| line.severity <= Severity::Error).map(|line| format!(": {}", line.text)).unwrap_or_default()
}

/// The first diagnostic, else the first error of the log, as the end of a sentence.
fn first_diagnostic(diagnostics: &[Diagnostic], log: &[LogLine]) -> String {
    match diagnostics {
        [] => first_error(log),
        [only] => format!(": {only}"),
        [first, rest @ ..] => format!(": {first} (and {} more)", rest.len()),
    }
}
