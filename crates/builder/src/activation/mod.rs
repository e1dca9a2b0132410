//! What TensorRT-RTX charges for activations, kernel by kernel and tensor by tensor.
//!
//! TensorRT tells one figure per engine. [`account`] says what it is made of, from the graph that the compiler gets (converted to half precision, quantized, cut
//! into bands), without building anything. The rules were observed on TensorRT-RTX 1.7 and are a model, not a promise: beside its figure stands what TensorRT
//! reports, so that the difference is seen.

mod account;
mod charge;
mod kernels;

pub use account::{ActivationAccount, Moment, account};
pub use charge::{Charge, Place};
pub(crate) use kernels::{Kernels, is_multiplication, is_view};

/// Scratch memory of a kernel that convolves or multiplies matrices, whatever its size.
pub const WORKSPACE_BYTES: u64 = 8_192_000;
