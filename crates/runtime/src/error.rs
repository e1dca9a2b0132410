//! What can go wrong, as data: bytes needed and free, shapes asked and allowed, who holds what.
//!
//! What to do next is [`Error::hint`]; causes are sources, not text.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bytes::Bytes;
use crate::device::Class;
use crate::element::ElementType;
use crate::engine::{Direction, EngineFault, ShapeRange};
use crate::ledger::Refusal;
use crate::shape::Shape;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A budget has no room; nothing was allocated.
    #[error(transparent)]
    OverBudget(Box<Refusal>),
    /// The device has no room for an allocation that the budget allows.
    #[error("{device} cannot give {} of {class} memory{}", Bytes(*bytes), free_text(*free_bytes))]
    OutOfMemory {
        /// The device.
        device: String,
        /// What the memory was for.
        class: Class,
        /// Bytes asked for.
        bytes: u64,
        /// Bytes that the device says are free, where it says.
        free_bytes: Option<u64>,
    },
    /// The driver is absent, or there is no GPU.
    #[error("no GPU can be used: {reason}")]
    NoGpu {
        /// Why.
        reason: String,
    },
    /// A call of the device failed.
    #[error("{device}: {call} failed: {reason}")]
    Device {
        /// The device.
        device: String,
        /// The call.
        call: &'static str,
        /// The device's words.
        reason: String,
    },
    /// Work that had been accepted failed later; told by the first call that waits for it.
    #[error("{device}: work that was under way failed: {reason}")]
    Late {
        /// The device.
        device: String,
        /// Why.
        reason: String,
    },
    /// Memory or a slot is in use by work that is under way.
    #[error("{what} is in use by work that is under way")]
    InFlight {
        /// What is in use.
        what: String,
    },
    /// A slot number is too large.
    #[error("there is no slot {slot}; the session has {slots}")]
    NoSlot {
        /// The number given.
        slot: usize,
        /// Number of slots.
        slots: usize,
    },
    /// A ticket is of another session, or was redeemed before.
    #[error("the ticket stands for no run of this session: {reason}")]
    StaleTicket {
        /// Why.
        reason: &'static str,
    },
    /// The engine has no input or output of that name.
    #[error("the engine has no {direction} {name:?}; it has {available:?}")]
    UnknownTensor {
        /// Input or output.
        direction: Direction,
        /// The name given.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// A tensor was viewed as another type.
    #[error("{name:?} is {expected}, not {actual}")]
    WrongElement {
        /// The tensor.
        name: String,
        /// Its element type.
        expected: ElementType,
        /// The type asked for.
        actual: ElementType,
    },
    /// Values of a tensor are none of its element type, such as a truth value of 7.
    #[error("{name:?} holds values that are no {expected}")]
    InvalidValues {
        /// The tensor.
        name: String,
        /// Its element type.
        expected: ElementType,
    },
    /// A tensor was given another number of bytes.
    #[error("{name:?} takes {expected} bytes ({shape}), not {actual}")]
    WrongByteCount {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Box<Shape>,
        /// Its bytes.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },
    /// A shape fits no profile of the engine, or not what the session was made for.
    #[error("{name:?} cannot be {asked}; {}", ranges_text(ranges))]
    OutsideProfiles {
        /// The tensor.
        name: String,
        /// The shape asked for.
        asked: Box<Shape>,
        /// The ranges there are, one per profile.
        ranges: Vec<ShapeRange>,
    },
    /// The shapes of several inputs are each in some profile, but in none together.
    #[error("no profile takes the shapes of all inputs together: {shapes:?}")]
    NoCommonProfile {
        /// Each input with its shape.
        shapes: Vec<(String, Shape)>,
    },
    /// An input's open dimension has no size.
    #[error("{name:?} has open dimensions, {declared}, and the request gives no range for them")]
    OpenShape {
        /// The input.
        name: String,
        /// Its declared shape, such as `?x3x?x?`.
        declared: String,
    },
    /// A number in a request cannot be.
    #[error("{what} cannot be {value}: {reason}")]
    Request {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Why not.
        reason: &'static str,
    },
    /// An engine file does not fit this program, this machine or its manifest.
    #[error("{source_name} cannot be loaded: {fault}")]
    Unfit {
        /// The file, or what else it was read from.
        source_name: String,
        /// What does not fit.
        #[source]
        fault: Box<EngineFault>,
    },
    /// This program was built without what the file needs.
    #[error("{what} needs the cargo feature `{feature}`, which this program was built without")]
    FeatureOff {
        /// What was asked for.
        what: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The engine ran and failed.
    #[error("the engine failed: {reason}")]
    Run {
        /// Why.
        reason: String,
    },
    /// A function of the application panicked.
    #[error("{what} panicked: {message}")]
    Panicked {
        /// Which function.
        what: &'static str,
        /// The panic's text.
        message: String,
    },
    /// There is no such process, or it has ended.
    #[error("no process has the number {pid}")]
    NoProcess {
        /// The number.
        pid: u32,
    },
    /// What a process shows of itself to others cannot be understood.
    #[error("{} does not tell what its process does: {reason}", path.display())]
    Shown {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The batcher's queue is full; nothing was queued.
    #[error("the queue is full: {capacity} requests wait")]
    QueueFull {
        /// How many requests it holds.
        capacity: usize,
    },
    /// A request's deadline passed.
    #[error("the deadline passed {} by {late:?}", if *executed { "while the request was executed" } else { "before the request was executed" })]
    DeadlinePassed {
        /// Whether the engine ran it, too late.
        executed: bool,
        /// By how much.
        late: Duration,
    },
    /// The batcher shuts down; the request was not executed.
    #[error("the batcher is shut down")]
    ShutDown,
    /// The engine failed on the batch that the request was in.
    #[error("the batch of {batch} failed")]
    Batch {
        /// Requests in the batch.
        batch: usize,
        /// The engine's error, shared by all of them.
        #[source]
        source: Arc<Error>,
    },
    /// A stage of a network that runs in stages could not be loaded, or failed.
    #[error("stage {stage} of {stages} ({name}) failed")]
    Stage {
        /// Number of the stage, from 1.
        stage: usize,
        /// Number of stages.
        stages: usize,
        /// The stage's name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },
    /// ONNX Runtime failed.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(Box<trtforge_onnxruntime::Error>),
    /// An ONNX file cannot be read.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Model(Box<trtforge_graph::Error>),
    /// TensorRT failed.
    #[cfg(feature = "tensorrt")]
    #[error(transparent)]
    TensorRt(Box<trtforge_tensorrt::Error>),
}

impl Error {
    /// What to do next, where that can be told.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::OverBudget(refusal) => return Some(refusal.hint()),
            Self::OutOfMemory { .. } => "ask for a smaller batch or fewer slots, or free what else is on the device",
            Self::NoGpu { .. } => "check that `nvidia-smi` lists a GPU; an .onnx model runs on the CPU",
            Self::InFlight { .. } => "wait for the run, or use another slot",
            Self::WrongElement { .. } => "view the tensor as the type it has",
            Self::OpenShape { .. } => "give the request a range for this input, or a batch if only the first is open",
            Self::Unfit { fault, .. } => return fault.hint(),
            Self::NoProcess { .. } => "`trtforge watch` without a number lists what runs; `ps` lists all processes",
            Self::Shown { .. } => "watch it with the version of trtforge that it is",
            Self::QueueFull { .. } => "send fewer requests, or answer this one elsewhere",
            Self::Batch { source, .. } => return source.hint(),
            Self::Stage { source, .. } => return source.hint(),
            #[cfg(feature = "onnx")]
            Self::Onnx(error) => return error.hint(),
            #[cfg(feature = "tensorrt")]
            Self::TensorRt(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Whether less work, or more room, would have made it succeed.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::OverBudget(_) | Self::OutOfMemory { .. } => true,
            Self::Batch { source, .. } => source.is_out_of_memory(),
            Self::Stage { source, .. } => source.is_out_of_memory(),
            _ => false,
        }
    }
}

#[cfg(feature = "onnx")]
impl From<trtforge_onnxruntime::Error> for Error {
    fn from(error: trtforge_onnxruntime::Error) -> Self {
        Self::Onnx(Box::new(error))
    }
}

#[cfg(feature = "onnx")]
impl From<trtforge_graph::Error> for Error {
    fn from(error: trtforge_graph::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

#[cfg(feature = "tensorrt")]
impl From<trtforge_tensorrt::Error> for Error {
    fn from(error: trtforge_tensorrt::Error) -> Self {
        Self::TensorRt(Box::new(error))
    }
}

fn free_text(free: Option<u64>) -> String {
    free.map(|bytes| format!("; {} are free", Bytes(bytes))).unwrap_or_default()
}

fn ranges_text(ranges: &[ShapeRange]) -> String {
    match ranges {
        [] => "the engine has no profile".to_owned(),
        [only] => format!("it may be {only}"),
        many => {
            let each = many.iter().enumerate().map(|(index, range)| format!("{range} in profile {index}"));
            format!("it may be {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}
