//! From a histogram to a threshold: the magnitude that becomes the largest integer.
//!
//! Everything below the threshold is rounded, everything above is clipped, and the methods differ in how they weigh the two. Each works on counts alone, in units of
//! one bin, so scaling a tensor by a power of two scales its threshold by exactly that, and equal histograms give equal bits.

mod entropy;
mod mse;
mod percentile;

use super::Histogram;
use crate::CalibrationMethod;
use half::f16;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The largest integer of symmetric INT8, which the threshold becomes.
pub const LEVELS: u32 = 127;

/// The scale of a tensor that was zero throughout calibration: it only has to be positive, and this is the least normal number of half precision.
pub const DEAD_SCALE: f32 = 1.0 / 16384.0;

/// How a threshold is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Method {
    /// The largest magnitude: nothing is clipped.
    Minmax,
    /// The given percentile, in (0, 100], of the magnitudes that are not exactly zero. Zero is exact at every scale; counting the zeros of a ReLU or of black borders
    /// would move the percentile into the values that matter.
    Percentile(f64),
    /// Least squared error of rounding and clipping together.
    Mse,
    /// Least Kullback-Leibler divergence, as TensorRT's own calibrator (S. Migacz, "8-bit inference with TensorRT", GTC 2017).
    Entropy,
}

/// A text that names no method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no calibration method; write minmax, mse, entropy or percentile-99.99")]
pub struct MethodParseError(pub String);

impl Method {
    /// The percentile that is meant where none is named.
    pub const DEFAULT_PERCENTILE: Method = Method::Percentile(99.99);

    /// What `auto` chooses from, from the one that clips nothing on.
    pub const CANDIDATES: [Method; 6] = [
        Method::Minmax,
        Method::Percentile(99.999),
        Method::Percentile(99.99),
        Method::Percentile(99.9),
        Method::Mse,
        Method::Entropy,
    ];

    /// The method that a config or an option names; `None` for `auto`, which is a choice per tensor.
    pub fn of(method: CalibrationMethod) -> Option<Method> {
        match method {
            CalibrationMethod::Auto => None,
            CalibrationMethod::Entropy => Some(Method::Entropy),
            CalibrationMethod::Percentile => Some(Method::DEFAULT_PERCENTILE),
            CalibrationMethod::Mse => Some(Method::Mse),
            CalibrationMethod::Minmax => Some(Method::Minmax),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Minmax => f.write_str("minmax"),
            Method::Percentile(percentile) => write!(f, "percentile-{percentile}"),
            Method::Mse => f.write_str("mse"),
            Method::Entropy => f.write_str("entropy"),
        }
    }
}

impl FromStr for Method {
    type Err = MethodParseError;

    fn from_str(text: &str) -> Result<Self, MethodParseError> {
        let percentile = |number: &str| number.parse().ok().filter(|value: &f64| *value > 0.0 && *value <= 100.0);
        match text {
            "minmax" => Ok(Method::Minmax),
            "mse" => Ok(Method::Mse),
            "entropy" => Ok(Method::Entropy),
            "percentile" => Ok(Method::DEFAULT_PERCENTILE),
            _ => text
                .strip_prefix("percentile-")
                .and_then(percentile)
                .map(Method::Percentile)
                .ok_or_else(|| MethodParseError(text.to_owned())),
        }
    }
}

impl From<Method> for String {
    fn from(method: Method) -> String {
        method.to_string()
    }
}

impl TryFrom<String> for Method {
    type Error = MethodParseError;

    fn try_from(text: String) -> Result<Self, MethodParseError> {
        text.parse()
    }
}

/// The threshold of a tensor, in its own unit: in (0, amax], and 0 for a dead tensor or an empty histogram.
pub fn threshold(histogram: &Histogram, method: Method) -> f32 {
    let amax = histogram.amax();
    if amax == 0.0 {
        return 0.0;
    }
    let bins = match method {
        Method::Minmax => return amax,
        Method::Percentile(percentile) => percentile::edge(histogram, percentile),
        Method::Mse => mse::edge(histogram),
        Method::Entropy => entropy::edge(histogram.counts_in_use()),
    };
    amax.min((bins * f64::from(histogram.bin_width())) as f32)
}

/// The scale that takes a threshold to [`LEVELS`]: positive, finite and normal whatever the threshold. A dead tensor (threshold 0) gets [`DEAD_SCALE`].
pub fn scale_of(threshold: f32) -> f32 {
    if threshold > 0.0 { (threshold / LEVELS as f32).clamp(f32::MIN_POSITIVE, f32::MAX) } else { DEAD_SCALE }
}

/// The least scale that half precision holds exactly and that is no smaller than `scale`, so that the threshold is not clipped: Q/DQ nodes on half tensors have half
/// scales. At least 2^-24, the least positive half. At most 65504, the greatest: a larger scale belongs to values that half precision does not hold anyway.
pub fn half_scale(scale: f32) -> f32 {
    let nearest = f16::from_f32(scale);
    let above = if nearest.to_f32() < scale { f16::from_bits(nearest.to_bits() + 1) } else { nearest };
    above.to_f32().clamp(f16::from_bits(1).to_f32(), f16::MAX.to_f32())
}
