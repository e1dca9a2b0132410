//! ONNX in and out.
#[allow(missing_docs, clippy::all)]
#[allow(clippy::undocumented_unsafe_blocks)]
mod generated { include!(concat!(env!("OUT_DIR"), "/proto/mod.rs")); }
pub use generated::onnx as proto;
