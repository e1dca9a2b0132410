//! Everything that can be wrong with a model file, a graph or a patch, as one enum that carries the data.
//!
//! Messages say what and where; causes travel as `#[source]`; what to do next is [`Error::hint`], which only a
//! front end renders. Nothing here may print or exit.

use std::io;
use std::path::PathBuf;

use crate::element::ElementType;

/// What reading, checking, editing or writing a model can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file does not exist.
    #[error("no such file: {}", path.display())]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The operating system refused an operation on a file.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb phrase: "read", "write".
        action: &'static str,
        /// The file concerned.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The model has no bytes at all.
    #[error("{origin} is empty (0 bytes)")]
    Empty {
        /// The file, or "the given bytes".
        origin: String,
    },
    /// The bytes are not an ONNX model.
    #[error("{origin} is not an ONNX model: {reason}")]
    NotOnnx {
        /// The file, or "the given bytes".
        origin: String,
        /// What was seen instead.
        reason: String,
    },
    /// The file ends inside a field: a download or a copy was cut short.
    #[error("{origin} is cut short: a field of the model needs {needed_bytes} bytes, {available_bytes} are there")]
    Truncated {
        /// The file, or "the given bytes".
        origin: String,
        /// Size the file must have at least.
        needed_bytes: u64,
        /// Size the file has.
        available_bytes: u64,
    },
    /// The outer layout is that of an ONNX model, but something inside cannot be decoded.
    #[error("{origin} is a damaged ONNX model")]
    Malformed {
        /// The file, or "the given bytes".
        origin: String,
        /// What the protobuf decoder said.
        #[source]
        source: protobuf::Error,
    },
    /// Protobuf messages end at 2 GiB.
    #[error("{origin} is too large for one ONNX file: {bytes} bytes, at most {limit_bytes} can be stored")]
    TooLarge {
        /// The file, or what was to be written.
        origin: String,
        /// Its size.
        bytes: u64,
        /// The format's limit.
        limit_bytes: u64,
    },
    /// The model could not be encoded.
    #[error("cannot encode the model")]
    Encode {
        /// What the protobuf encoder said.
        #[source]
        source: protobuf::Error,
    },
    /// The model holds no graph.
    #[error("the model has no graph")]
    MissingGraph,
    /// The model does not say which operator set it uses.
    #[error("the model imports no operator set")]
    MissingOpset,
    /// The model imports an operator set version that does not exist (yet).
    #[error("operator set {} version {version} is unknown; known are 1 to {newest}", domain_name(domain))]
    UnknownOpset {
        /// Operator set domain; empty is `ai.onnx`.
        domain: String,
        /// The version imported.
        version: i64,
        /// The newest version known here.
        newest: i64,
    },
    /// A node uses a domain that the model does not import.
    #[error("node {node:?} ({operator}) is of domain {domain:?}, which the model does not import")]
    DomainNotImported {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// The domain that is not imported.
        domain: String,
    },
    /// Two producers claim one value name.
    #[error("value {value:?} has two producers: {first} and {second}")]
    DuplicateValue {
        /// The value's name.
        value: String,
        /// The producer seen first.
        first: String,
        /// The producer seen second.
        second: String,
    },
    /// A node or a graph output reads a value that nothing produces.
    #[error("{reader} reads {value:?}, which nothing produces")]
    DanglingInput {
        /// The value's name.
        value: String,
        /// Node or graph output that reads it.
        reader: String,
    },
    /// Two nodes have one name.
    #[error("two nodes are named {node:?}")]
    DuplicateNode {
        /// The name.
        node: String,
    },
    /// A sparse tensor's parts do not fit together.
    #[error("sparse tensor {tensor:?} cannot be read: {reason}")]
    SparseTensor {
        /// Name of its values.
        tensor: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Nodes depend on each other in a circle.
    #[error("the graph has a cycle through {}", nodes.join(" -> "))]
    Cycle {
        /// Nodes on the cycle, in order.
        nodes: Vec<String>,
    },
    /// A value, node, attribute or tensor lacks something that it must have.
    #[error("{what} has no {missing}")]
    Incomplete {
        /// The thing concerned.
        what: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// An attribute's declared type is not what it holds.
    #[error("attribute {attribute:?} of node {node:?} is declared {declared} but holds {held}")]
    AttributeType {
        /// Node name.
        node: String,
        /// Attribute name.
        attribute: String,
        /// Declared type.
        declared: String,
        /// The fields that hold something.
        held: String,
    },
    /// A node has the same attribute twice.
    #[error("node {node:?} has attribute {attribute:?} twice")]
    DuplicateAttribute {
        /// Node name.
        node: String,
        /// Attribute name.
        attribute: String,
    },
    /// A tensor has a negative dimension.
    #[error("tensor {tensor:?} has the negative dimension {dimension} at axis {axis}")]
    NegativeDimension {
        /// Tensor name.
        tensor: String,
        /// Axis, counted from 0.
        axis: usize,
        /// The dimension found.
        dimension: i64,
    },
    /// A tensor's dimensions multiply to more than can exist.
    #[error("tensor {tensor:?} is impossibly large: {dimensions:?}")]
    HugeTensor {
        /// Tensor name.
        tensor: String,
        /// Its dimensions.
        dimensions: Vec<i64>,
    },
    /// A tensor's data is not the size that its dimensions ask for.
    #[error("tensor {tensor:?} needs {expected} {unit} for {element}{dimensions:?} but holds {actual}")]
    TensorSize {
        /// Tensor name.
        tensor: String,
        /// Element type.
        element: ElementType,
        /// Dimensions.
        dimensions: Vec<i64>,
        /// What the counts below count: "bytes" or "elements".
        unit: &'static str,
        /// Count needed.
        expected: u64,
        /// Count present.
        actual: u64,
    },
    /// A tensor stores its data in more than one place, or in one that does not suit its type.
    #[error("tensor {tensor:?} of {element} cannot hold its data in {storage}")]
    TensorStorage {
        /// Tensor name.
        tensor: String,
        /// Element type.
        element: ElementType,
        /// The field or fields used.
        storage: String,
    },
    /// A tensor was read as another element type than it has.
    #[error("tensor is {actual}, not {expected}")]
    ElementMismatch {
        /// The element type asked for.
        expected: ElementType,
        /// The element type held.
        actual: ElementType,
    },
    /// The element type has no fixed-size dense form on the host.
    #[error("tensor {tensor:?} of {element} has no dense form in memory")]
    NotDense {
        /// Tensor name.
        tensor: String,
        /// Its element type.
        element: ElementType,
    },
    /// An initializer's data file does not exist.
    #[error("tensor {tensor:?} keeps its data in {location:?}, which does not exist: {}", path.display())]
    ExternalMissing {
        /// Tensor name.
        tensor: String,
        /// Location as the model gives it.
        location: String,
        /// Where that is on this machine.
        path: PathBuf,
    },
    /// An initializer's data file lies outside the model's folder.
    #[error("tensor {tensor:?} keeps its data in {location:?}: {reason}")]
    ExternalOutside {
        /// Tensor name.
        tensor: String,
        /// Location as the model gives it.
        location: String,
        /// How it leaves the folder.
        reason: &'static str,
    },
    /// An initializer's data would lie past the end of its file.
    #[error("tensor {tensor:?} needs bytes {offset}..{} of {location:?}, which has {file_bytes}", offset.saturating_add(*length))]
    ExternalRange {
        /// Tensor name.
        tensor: String,
        /// Location as the model gives it.
        location: String,
        /// First byte.
        offset: u64,
        /// Bytes wanted.
        length: u64,
        /// Size of the file.
        file_bytes: u64,
    },
    /// An initializer's external entry cannot be understood.
    #[error("tensor {tensor:?} has an unusable external data entry {key:?}: {value:?}")]
    ExternalEntry {
        /// Tensor name.
        tensor: String,
        /// Entry key, or the missing one.
        key: String,
        /// Entry value.
        value: String,
    },
    /// The model came as bytes, without a folder, but refers to data files.
    #[error("tensor {tensor:?} keeps its data in {location:?}, but the model was given without a folder")]
    ExternalWithoutFolder {
        /// Tensor name.
        tensor: String,
        /// Location as the model gives it.
        location: String,
    },
    /// Values that must share one element type do not.
    #[error("node {node:?} ({operator}) mixes element types: {first} is {first_type}, {second} is {second_type}")]
    MixedTypes {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// One slot, with the name of its value.
        first: String,
        /// Its type.
        first_type: ElementType,
        /// The other slot.
        second: String,
        /// Its type.
        second_type: ElementType,
    },
    /// A patch was refused; nothing was changed.
    #[error("patch {patch:?} refused")]
    Patch {
        /// The patch's name.
        patch: String,
        /// Why.
        #[source]
        source: Box<PatchError>,
    },
    /// A dimension is not known, where a number of bytes is needed.
    #[error("value {value:?} has no fixed size: {shape}")]
    UnknownSize {
        /// Value name.
        value: String,
        /// Its type as far as known.
        shape: String,
    },
}

/// Why a patch was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// The patch names a node that does not exist (any more).
    #[error("node {0} is not in the graph")]
    NoSuchNode(u32),
    /// The patch names a value that does not exist.
    #[error("there is no value {0:?}")]
    NoSuchValue(String),
    /// The patch names a slot that the node does not have.
    #[error("node {node:?} has no {what} {slot}")]
    NoSuchSlot {
        /// Node name.
        node: String,
        /// "input" or "output".
        what: &'static str,
        /// Slot asked for.
        slot: usize,
    },
    /// The number of output types is not the number of outputs.
    #[error("node {node:?} has {outputs} outputs but {types} types were given")]
    OutputTypes {
        /// Node name.
        node: String,
        /// Outputs of the node.
        outputs: usize,
        /// Types given.
        types: usize,
    },
    /// A use would see another element type.
    #[error("{reader} would read {new:?} ({new_type}) in place of {old:?} ({old_type})")]
    ElementType {
        /// The reading node or graph output.
        reader: String,
        /// Value read so far.
        old: String,
        /// Its element type.
        old_type: ElementType,
        /// Value to be read.
        new: String,
        /// Its element type.
        new_type: ElementType,
    },
    /// A use would see another shape.
    #[error("{reader} would read {new:?} ({new_type}) in place of {old:?} ({old_type})")]
    Shape {
        /// The reading node or graph output.
        reader: String,
        /// Value read so far.
        old: String,
        /// Its type.
        old_type: String,
        /// Value to be read.
        new: String,
        /// Its type.
        new_type: String,
    },
    /// The type of a value would change under an operator that the type table does not know.
    #[error(
        "node {node:?} ({operator}) would read {value:?} as {new_type} instead of {old_type}, and what it accepts is not known"
    )]
    UnknownOperator {
        /// Node name.
        node: String,
        /// Operator type.
        operator: String,
        /// The value.
        value: String,
        /// Element type so far.
        old_type: ElementType,
        /// Element type to be.
        new_type: ElementType,
    },
    /// A removed value is still used.
    #[error("{reader} still reads {value:?}, whose producer is removed")]
    StillUsed {
        /// Value name.
        value: String,
        /// Node or graph output that reads it.
        reader: String,
    },
    /// A value would be read inside a subgraph that has a value of the same name.
    #[error("node {node:?} has a value named {value:?} inside its subgraph, which would hide the outer one")]
    Hidden {
        /// Node with the subgraph.
        node: String,
        /// The name.
        value: String,
    },
    /// A graph input or output would lose its name.
    #[error("{0:?} is the name of a graph input or output and must stay")]
    InterfaceName(String),
    /// A value is redirected to two different ones.
    #[error("{0:?} is redirected to two different values")]
    RedirectedTwice(String),
    /// Redirects lead in a circle.
    #[error("the redirects of {0:?} lead in a circle")]
    RedirectCircle(String),
    /// The edited graph breaks a rule that every graph must keep.
    #[error(transparent)]
    Invalid(#[from] Box<Error>),
}

impl Error {
    /// What the user can do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::NotFound { .. } => "check the path; relative paths start at the working directory".into(),
            Error::Empty { .. } | Error::Truncated { .. } => {
                "the file was probably not copied or downloaded completely; fetch it again".into()
            }
            Error::NotOnnx { .. } => "give a model in ONNX's protobuf format, as exporters write it (.onnx)".into(),
            Error::Malformed { .. } => "export the model again; the file is damaged or was edited by hand".into(),
            Error::TooLarge { .. } => {
                "store the weights as external data (in PyTorch: torch.onnx.export(..., external_data=True))".into()
            }
            Error::UnknownOpset { newest, .. } => format!("export with an operator set version of at most {newest}"),
            Error::MissingOpset | Error::MissingGraph => "export the model again; the file is incomplete".into(),
            Error::ExternalMissing { .. } => "copy the data file next to the model, or export into one file".into(),
            Error::ExternalOutside { .. } => {
                "data files must lie in the model's own folder; move them there and correct the location".into()
            }
            Error::ExternalRange { .. } => "the data file is incomplete or belongs to another model".into(),
            Error::UnknownSize { .. } => "fix the model's dynamic dimensions first".into(),
            Error::Io { action: "write", .. } => "check that the folder exists, is writable and has room".into(),
            _ => return None,
        };
        Some(text)
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn domain_name(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}
