//! Explicit quantization: what `QuantizeLinear` and `DequantizeLinear` nodes say, and models that already carry them.

pub mod existing;
mod integer_operators;
mod linear;
mod placement;

pub(crate) use integer_operators::{IntegerOperator, Layout, OWN_ATTRIBUTES, layout};
pub(crate) use linear::constants;
pub use linear::{LinearParameters, Unusable, is_dequantize, is_quantize, linear_parameters};
pub(crate) use placement::{MOVES, is_stored, moved_inputs, moved_parameters, parameters_of, weight_axis};
