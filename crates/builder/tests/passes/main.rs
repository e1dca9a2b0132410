//! Every pass on small models: structure before and after, a case where it must not fire, and numbers from ONNX Runtime.
#![allow(clippy::unwrap_used)]

mod audit;
mod damaged_quantization;
mod emulate_half;
mod existing_quantization;
mod half_precision;
mod layers;
mod lean;
mod quantized;
mod raise_opset;
mod repairs;
mod small_model;
