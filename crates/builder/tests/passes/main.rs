//! Every pass on small models: structure before and after, a case where it must not fire, and numbers from ONNX Runtime.
#![allow(clippy::unwrap_used)]

mod emulate_half;
mod half_precision;
mod raise_opset;
mod repairs;
mod small_model;
