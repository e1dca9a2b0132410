//! Runs TensorRT engines and ONNX models inside an application.
#![deny(missing_docs, unsafe_code)]

pub mod batcher;
mod bytes;
pub mod device;
mod element;
mod engine;
mod error;
pub mod ledger;
pub mod pool;
mod session;
mod shape;

pub use batcher::{BatchEngine, Batcher, BatcherOptions, BatcherStatistics, Response, Sample, SessionEngine};
pub use bytes::{Bytes, gib, mib};
pub use device::{Class, Device, Faults, Host, Memory, MemoryInfo};
pub use element::{Element, ElementType};
pub use engine::{
    Call, Declared, Direction, Engine, EngineFault, EngineOptions, Function, Inputs, MAX_TENSORS, Outputs, Profile,
    Request, ShapeRange, Signature, TensorInfo,
};
pub use error::{Error, Result};
pub use ledger::{Budget, Holder, Ledger, Plan, Refusal, Scope};
pub use pool::{Pool, PoolLimits, PoolStatistics};
pub use session::{GraphState, Session, SessionOptions, Slot, Ticket, Workspace};
pub use shape::{MAX_RANK, Shape};
