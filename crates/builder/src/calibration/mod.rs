//! Calibration: what the values of a network look like on real inputs, and the scale that follows for each.
//!
//! One streaming pass fills a [`Histogram`] per tensor; a method turns each histogram into a threshold; the thresholds are kept as TensorRT's calibration cache.
//! The pass is the expensive part, so its histograms can be kept and asked again with another method.

mod cache;
mod collector;
mod histogram;
mod observation;
mod observe;
mod run;
mod saved;
mod sidecar;
mod subject;
mod tensors;
mod thresholds;

pub use cache::{CacheError, CacheFault, CacheHeader, CalibrationCache};
pub use histogram::{BINS, Histogram, NonFinite};
pub use observation::Observation;
pub use observe::{Pass, observe, observe_ranges};
pub use run::{CalibrateOptions, CalibratedTensor, CalibrationOutcome, calibrate};
pub use saved::{Saved, histograms_path, load_observation, save_observation};
pub use sidecar::{
    Binding, CacheFit, ChosenThreshold, Difference, SIDECAR_SCHEMA, Sidecar, SkippedImage, check_tensors,
};
pub use subject::binding;
pub use tensors::calibrated_tensors;
pub(crate) use tensors::concatenations_of;
pub use thresholds::{DEAD_SCALE, LEVELS, Method, MethodParseError, half_scale, scale_of, threshold};
