//! What can go wrong between this program and ONNX Runtime.
//!
//! ONNX Runtime answers with one text; [`crate::diagnosis`] takes it apart, and the parts are fields here. The text as it
//! came is kept for logs ([`Error::full_text`]), not shown.

use std::io;
use std::path::PathBuf;

use trtforge_graph::proto::{GraphProto, NodeProto};
use trtforge_graph::{ElementType, TensorType};

use crate::Version;
use crate::diagnosis::{Diagnosis, Kind, diagnose};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library is nowhere.
    #[error(transparent)]
    Missing(#[from] trtforge_libraries::Missing),
    /// The library's file is cut short or is no library for this machine; it was not opened.
    #[error(transparent)]
    Unusable(#[from] trtforge_libraries::Unusable),
    /// The system's loader refused the library.
    #[error("{} cannot be loaded", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is a library, but another one.
    #[error("{} is a library, but not ONNX Runtime: it has no OrtGetApiBase", path.display())]
    WrongLibrary {
        /// The file.
        path: PathBuf,
    },
    /// The library is older than this program needs.
    #[error("{} is ONNX Runtime {found}; at least {needed} is needed", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version, as it says.
        found: String,
        /// The oldest version that serves.
        needed: Version,
    },
    /// The library is there but did not start.
    #[error("ONNX Runtime does not start: {reason}")]
    Start {
        /// ONNX Runtime's words.
        reason: String,
    },
    /// The model uses an operator that ONNX Runtime does not have, such as a TensorRT plugin.
    #[error("node {node:?}: ONNX Runtime does not know the operator {}", qualified(domain, operator))]
    UnknownOperator {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// Its domain; empty is `ai.onnx`.
        domain: String,
    },
    /// The operator is known, but ONNX Runtime cannot run it with these types on the CPU.
    #[error("node {node:?}: ONNX Runtime cannot run {} with these types on the CPU", qualified(domain, operator))]
    NoKernel {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// Its domain; empty is `ai.onnx`.
        domain: String,
    },
    /// ONNX Runtime refuses the model.
    #[error("{}ONNX Runtime refuses the model: {reason}", location(node, operator))]
    Rejected {
        /// Node name, where the text names one.
        node: Option<String>,
        /// Operator type, where the text names one.
        operator: Option<String>,
        /// Why.
        reason: String,
        /// The text as it came.
        text: String,
    },
    /// A run failed.
    #[error("{}the run failed: {reason}", location(node, operator))]
    Run {
        /// Node name, where the text names one.
        node: Option<String>,
        /// Operator type, where the text names one.
        operator: Option<String>,
        /// Why.
        reason: String,
        /// The text as it came.
        text: String,
    },
    /// A run was given an input that the model does not have.
    #[error("the model has no input {name:?}; its inputs are {available:?}")]
    UnknownInput {
        /// The name given.
        name: String,
        /// The model's inputs.
        available: Vec<String>,
    },
    /// A run was given the same input twice.
    #[error("input {name:?} is given twice")]
    DuplicateInput {
        /// The name given.
        name: String,
    },
    /// A run was not given all inputs.
    #[error("input {name:?} ({expected}) is missing")]
    MissingInput {
        /// The input.
        name: String,
        /// Its type.
        expected: TensorType,
    },
    /// A run was given an input of another element type.
    #[error("input {name:?} must be {expected}, not {actual}")]
    InputElement {
        /// The input.
        name: String,
        /// The model's element type.
        expected: ElementType,
        /// The element type given.
        actual: ElementType,
    },
    /// A run was given an input of another shape.
    #[error("input {name:?} must be {expected}, not {actual:?}")]
    InputShape {
        /// The input.
        name: String,
        /// The model's type.
        expected: TensorType,
        /// The shape given.
        actual: Vec<u64>,
    },
    /// A value was asked for that the model does not have.
    #[error("the model has no value {name:?} to give out")]
    UnknownOutput {
        /// The name asked for.
        name: String,
    },
    /// The value is no dense tensor of plain numbers, so it cannot be handed in or out.
    #[error("value {name:?} is {type_name}, which cannot be exchanged with ONNX Runtime here")]
    UnsupportedType {
        /// The value.
        name: String,
        /// What it is.
        type_name: String,
    },
    /// Simplification would make the model much bigger.
    #[error(
        "simplification grows the weights from {before_bytes} to {after_bytes} bytes, past the limit of {limit_bytes}"
    )]
    Growth {
        /// Bytes of weights before.
        before_bytes: u64,
        /// Bytes of weights after.
        after_bytes: u64,
        /// Bytes allowed.
        limit_bytes: u64,
    },
    /// Simplification put in an operator that is not of the model's own domains.
    #[error("node {node:?}: simplification put in {}, which is not standard", qualified(domain, operator))]
    NonStandard {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// Its domain.
        domain: String,
    },
    /// The weights could not be handed over through a temporary file.
    #[error("cannot {action} the temporary file {}", path.display())]
    Temporary {
        /// "create", "write" or "read".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The model cannot be encoded, or what came back cannot be decoded.
    #[error("the model cannot be exchanged with ONNX Runtime")]
    Exchange {
        /// The protobuf error.
        #[source]
        source: trtforge_graph::protobuf::Error,
    },
    /// A tensor of the model is unusable.
    #[error(transparent)]
    Graph(#[from] trtforge_graph::Error),
}

impl Error {
    /// What the user can do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Missing(missing) => return missing.hint(),
            Error::Unusable(unusable) => return unusable.hint(),
            Error::WrongLibrary { .. } | Error::Load { .. } => {
                "remove that file and run `make setup`, which fetches it again and checks it"
            }
            Error::TooOld { .. } => "run `make setup`, or point TRTFORGE_LIB_DIR at a newer library",
            Error::UnknownOperator { .. } => {
                "TensorRT may still know the operator; only the CPU reference cannot run it"
            }
            Error::NoKernel { .. } => "export the model in float32",
            Error::Growth { .. } => "build without simplification",
            Error::Temporary { .. } => {
                "check that the temporary folder is writable and has room, or set TMPDIR to another"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// ONNX Runtime's own text, with its noise, where the error comes from one.
    pub fn full_text(&self) -> Option<&str> {
        match self {
            Error::Rejected { text, .. } | Error::Run { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether the model itself may be fine and only ONNX Runtime on the CPU cannot take it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Error::UnknownOperator { .. } | Error::NoKernel { .. })
    }

    /// The error of a model that was refused with `text`.
    pub(crate) fn rejected(text: &str) -> Self {
        let Diagnosis { kind, node, operator, domain, reason } = diagnose(text);
        let known = (node.clone().unwrap_or_default(), domain.unwrap_or_default());
        match (kind, known, operator) {
            (Kind::UnknownOperator, (node, domain), Some(operator)) => {
                Error::UnknownOperator { node, operator, domain }
            }
            (Kind::NoKernel, (node, domain), Some(operator)) => Error::NoKernel { node, operator, domain },
            (_, _, operator) => Error::Rejected { node, operator, reason, text: text.to_owned() },
        }
    }

    /// This error, with the node that it does not name looked up in `graph`.
    pub(crate) fn located(mut self, graph: &GraphProto) -> Self {
        let (Error::UnknownOperator { node, operator, domain } | Error::NoKernel { node, operator, domain }) =
            &mut self
        else {
            return self;
        };
        let mut candidates = graph.node.iter().filter(|candidate| candidate.op_type() == operator);
        let found = candidates.find(|candidate| node.is_empty() || candidate.name() == node);
        if let Some(found) = found {
            *node = if found.name().is_empty() { unnamed(found) } else { found.name().to_owned() };
            *domain = found.domain().to_owned();
        }
        self
    }

    /// The error of a run that ended with `text`.
    pub(crate) fn run(text: &str) -> Self {
        let Diagnosis { node, operator, reason, .. } = diagnose(text);
        Error::Run { node, operator, reason, text: text.to_owned() }
    }
}

/// What to call a node without a name: the value it makes.
fn unnamed(node: &NodeProto) -> String {
    format!("that makes {}", node.output.first().map_or("nothing", String::as_str))
}

fn qualified(domain: &str, operator: &str) -> String {
    if domain.is_empty() { operator.to_owned() } else { format!("{domain}.{operator}") }
}

fn location(node: &Option<String>, operator: &Option<String>) -> String {
    match (node, operator) {
        (Some(node), Some(operator)) => format!("node {node:?} ({operator}): "),
        (Some(node), None) => format!("node {node:?}: "),
        (None, Some(operator)) => format!("operator {operator}: "),
        (None, None) => String::new(),
    }
}
