//! From an exported ONNX model to a verified TensorRT engine.
//!
//! Precision lives in the graph: TensorRT 11 and TensorRT-RTX build what the model says, so this crate rewrites the model and checks the rewrite by numbers before
//! anything is compiled. The steps, in order, are [`Stage`]; one driver runs them ([`prepare`]), [`build`] adds verification, compilation and the manifest.
//!
//! ```no_run
//! use trtforge_builder::{BuildOptions, CancelFlag, Precision, PrepareOptions, Progress, build};
//! use std::sync::Arc;
//!
//! let options = BuildOptions::new(PrepareOptions::new("model.onnx", Precision::Fp16), "model.engine");
//! let progress: Arc<dyn Progress> = Arc::new(());
//! let outcome = build(&options, &progress, &CancelFlag::default())?;
//! println!("{} bytes of activation memory", outcome.manifest.memory.activation_bytes);
//! # Ok::<(), trtforge_builder::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod activation;
mod audit;
mod budget;
mod build;
pub mod calibration;
mod compare;
mod compile;
mod config;
mod costly_nodes;
mod counted;
pub mod digest;
mod error;
pub mod fit;
mod floor;
pub mod form;
pub mod int8;
mod io_bytes;
mod layers;
mod lean;
mod make;
mod manifest;
mod measure;
mod metrics;
mod output;
pub mod passes;
pub mod precision;
mod prepare;
mod progress;
pub mod quantization;
mod quantize;
pub mod samples;
mod segments;
mod shapes;
mod size;
mod stage;
mod verify;
mod written;

pub use audit::{Arithmetic, ArithmeticShare, Audit, AuditedNode, UnfusedPair, audit};
pub use budget::{BudgetMiss, Tried};
pub use build::{BuildOptions, BuildOutcome, DEFAULT_WORKSPACE_BYTES, build};
pub use calibration::{CalibrateOptions, CalibrationOutcome, calibrate};
pub use compare::{CompareOptions, compare};
pub use compile::{CompileOptions, Compiled, Watch, compile};
pub use config::{
    AccuracyFloor, CalibrationConfig, CalibrationMethod, Config, DetectorConfig, FloorParseError, QuantizeConfig,
};
pub use costly_nodes::CostlyNode;
pub use counted::counted;
pub use error::{Error, Result};
pub use floor::{Attempt, FloorMiss, Int8Attempt, check_floor};
pub use io_bytes::largest_io_bytes;
pub use layers::{LayerAccuracy, LayerReport, compare_layers};
pub use lean::FormMemory;
pub use manifest::{
    BatchMemory, FileInfo, KeptNode, MOST_LISTED_NODES, Manifest, MemoryInfo, ModelInfo, OutputAccuracy, PlannedNode,
    PrecisionInfo, SCHEMA, StageInfo, TensorRtInfo,
};
pub use measure::{LaidOut, Measured, lay_out, measure, measure_memory};
pub use metrics::ErrorSums;
pub use output::{OutputLock, StagedFile};
pub use precision::{Keep, KeepParseError, NodePrecision, Precision, PrecisionCounts, PrecisionRow, PrecisionTable};
pub use prepare::{PrepareOptions, Prepared, prepare};
pub use progress::{CancelFlag, Progress};
pub use quantize::quantize;
pub use samples::{SampleSource, Unreadable};
pub use segments::{Divisible, Segment, SegmentTensor, Stages, StagesParseError};
pub use shapes::{NamedShape, Shape, ShapeEntry, ShapeParseError, ShapeRange, ShapeRequest};
pub use size::{ByteSize, SizeError, format_bytes};
pub use stage::{Stage, StageParseError, Timings};
pub use verify::{Verification, verify};
