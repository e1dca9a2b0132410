//! The runtime on the host device: real memory, real threads, ONNX Runtime where a model runs.

#![allow(clippy::unwrap_used)]

mod batching;
#[cfg(feature = "bench")]
mod bench;
#[cfg(feature = "onnx")]
mod bundles;
#[cfg(feature = "cuda")]
mod cuda;
mod devices;
mod engines;
#[cfg(feature = "onnx")]
mod examples;
mod functions;
#[cfg(all(feature = "onnx", feature = "tensorrt"))]
mod gpu_check;
mod ledgers;
#[cfg(feature = "onnx")]
mod models;
mod monitor;
mod parts;
mod pools;
mod sessions;
mod stages;
#[cfg(all(feature = "onnx", feature = "tensorrt", not(feature = "tensorrt-enterprise")))]
mod tensorrt;
