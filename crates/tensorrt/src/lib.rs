//! The only door to TensorRT: owning, sound types over the raw bindings.
//!
//! TensorRT is a C++ library whose objects refer to each other by bare pointers and must go in the
//! right order. Here a child keeps its parents alive, so Rust values may be dropped in any order;
//! every callback catches a panic; every failure is an [`Error`] that carries what TensorRT logged.
//! Nothing outside this crate may touch TensorRT's pointers.
//!
//! The library is opened at run time ([`TensorRt::load`]); TensorRT-RTX builds engines on a machine
//! that has no GPU.
//!
//! ```no_run
//! use trtforge_tensorrt::{MemoryPool, TensorRt};
//!
//! let model = std::fs::read("model.onnx")?;
//! let builder = TensorRt::load()?.builder()?;
//! let mut network = builder.network()?;
//! network.parse_onnx(&model, None)?;
//! let mut config = builder.config()?;
//! config.set_memory_pool_limit(MemoryPool::Workspace, 512 << 20)?;
//! let mut profile = builder.profile()?;
//! profile.set_shape("images", &[1, 3, 640, 640], &[4, 3, 640, 640], &[8, 3, 640, 640])?;
//! config.add_profile(profile)?;
//! let built = builder.build(&mut network, &mut config)?;
//! std::fs::write("model.engine", &*built.engine)?;
//! println!("{:?} bytes of activations", built.report.memory.activation_bytes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod builder;
mod config;
mod context;
mod data_type;
mod device;
mod diagnostic;
mod dimensions;
mod engine;
mod error;
mod library;
mod logger;
mod memory_totals;
mod network;
mod output;
mod preflight;
mod profile;
mod progress;
mod runtime;
mod serialized;
mod shim;
mod tensor_format;
#[cfg(feature = "enterprise")]
mod timing_cache;
mod turn;
mod version;

pub use builder::{BuildReport, Builder, Built};
#[cfg(not(feature = "enterprise"))]
pub use config::ComputeCapability;
#[cfg(feature = "enterprise")]
pub use config::HardwareCompatibility;
pub use config::{BuilderConfig, BuilderFlag, MemoryPool, ProfilingVerbosity};
pub use context::{ContextMemory, ExecutionContext};
pub use data_type::DataType;
pub use device::{Device, NoDevice};
pub use diagnostic::{Diagnostic, DiagnosticCode};
pub use engine::{Engine, IoTensor, ProfileShape, TensorMode};
pub use error::{Error, ProfileFault, Result};
pub use library::{Flavour, TensorRt};
pub use logger::{LogLine, Severity};
pub use memory_totals::MemoryTotals;
pub use network::{Network, TensorInfo, Weights};
pub use profile::{OptimizationProfile, ShapeRange};
pub use progress::{Flow, Progress, ProgressEvent};
pub use runtime::{EngineFault, Runtime, Validity};
pub use serialized::SerializedEngine;
pub use tensor_format::TensorFormat;
#[cfg(feature = "enterprise")]
pub use timing_cache::TimingCache;
pub use version::Version;
