//! The only door to ONNX Runtime.
//!
//! The builder asks it five things: a reference run on the CPU ([`Session`]), the simplified model
//! ([`OnnxRuntime::optimize`]), the type and shape of every value ([`OnnxRuntime::infer_types`]), the values inside a
//! network on real inputs ([`OnnxRuntime::observe`]) and a look at them that takes no memory ([`OnnxRuntime::watch`]). An
//! application runs a model over buffers bound once ([`Binding`]). ONNX Runtime is a shared library that is opened at run time;
//! that it is missing, damaged or too old is an ordinary error here, never a panic.
//!
//! Nothing of the `ort` crate shows in this crate's interface, and no other crate of the workspace may use it.
//!
//! ```no_run
//! use trtforge_graph::{Model, Tensor};
//! use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = OnnxRuntime::load()?;
//! let model = runtime.optimize(&Model::read("model.onnx".as_ref())?)?;
//! let mut session = runtime.session(&model, &SessionConfig::default())?;
//! let pixels = Tensor::from_vec(vec![1, 3, 640, 640], vec![0.0f32; 3 * 640 * 640])?;
//! for (name, tensor) in session.run(&[("images", &pixels)], None)? {
//!     println!("{name}: {:?}", tensor.shape);
//! }
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs, unsafe_code)]

mod bound;
mod diagnosis;
mod error;
mod freed_memory;
mod half_types;
mod host_tensor;
mod infer_types;
mod library;
mod log;
mod observe;
mod optimize;
mod order;
mod restore;
mod runtime;
mod session;
mod staging;
mod usage_reporting;
mod watch;

pub use bound::{Binding, Buffer, SharedSession};
pub use error::{Error, Result};
pub use freed_memory::release_freed_memory;
pub use infer_types::Types;
pub use log::{Severity, Warning};
pub use observe::Observer;
pub use runtime::{OnnxRuntime, Version};
pub use session::{IoInfo, Optimization, Session, SessionConfig};
pub use usage_reporting::disable_usage_reporting;
pub use watch::{Watched, Watcher};
