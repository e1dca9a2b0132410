//! ONNX in and out, values with types, patches, liveness, a static memory plan, statistics.
//!
//! ```no_run
//! use trtforge_graph::{Graph, Model};
//!
//! # fn main() -> trtforge_graph::Result<()> {
//! let model = Model::read("model.onnx".as_ref())?;
//! let graph = Graph::new(model)?;
//! for node in graph.node_ids() {
//!     println!("{} {}", graph.op_type(node), graph.node(node).name.as_deref().unwrap_or(""));
//! }
//! graph.into_model()?.write("copy.onnx".as_ref())
//! # }
//! ```
//!
//! Weights are never copied without need: a model read from a file points into the mapped file.
//! **A mapped file must not be shortened while a model read from it is in use**; the operating system ends the process
//! in that case (SIGBUS). Replacing the file by renaming another over it is safe, and is how this crate writes.
#![deny(missing_docs, unsafe_code)]

#[allow(missing_docs, unsafe_code, clippy::all, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/proto/mod.rs"));
}
mod check;
pub mod construct;
mod element;
mod error;
mod external;
mod graph;
mod lifetimes;
mod mapping;
pub mod memory_plan;
mod model;
mod place;
mod segment;
pub mod segmentation;
mod signatures;
mod split;
mod statistics;
mod tensor;
mod types;
mod visit;
mod wire;
mod write;

pub use bytes::Bytes;
pub use check::{Finding, Severity, check, ensure_valid};
pub use element::ElementType;
pub use error::{Error, PatchError, Result};
pub use generated::onnx as proto;
pub use graph::{Graph, NodeId, Patch, PatchSummary, Producer, Slot, Use, Value, ValueId, ValueRef};
pub use lifetimes::{Lifetime, Storage, known_lifetimes, lifetimes};
pub use model::Model;
pub use place::Place;
pub use protobuf;
pub use segment::{Boundary, is_repeated, read_through, segment, segment_boundary};
pub use signatures::{NEWEST_OPSET, Side, Signature, signature};
pub use split::OutsideTensor;
pub use statistics::{NodeStatistics, Statistics, statistics};
pub use tensor::{Element, Tensor};
pub use types::{Dimension, TensorType, ValueType};
pub use write::data_path;
