//! The INT8 decision on small networks: where quantization goes, how it is written, what it loses and how the search repairs it. Numbers come from ONNX Runtime.
#![allow(clippy::unwrap_used)]

mod biases;
mod equalization;
mod insertion;
mod losses;
mod networks;
mod placement;
mod search;
#[allow(dead_code, reason = "the passes need more of it")]
#[path = "../passes/small_model.rs"]
mod small_model;
