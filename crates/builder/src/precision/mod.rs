//! Which precision each node computes in, and why: decided here as a table, applied by `passes::convert_to_half`.

mod float_slots;
mod half_policy;
mod output_functions;
mod ranges;
mod table;

pub(crate) use float_slots::{FloatSlots, is_cast, is_float32};
pub(crate) use half_policy::node_label;
pub use half_policy::{HALF_MAX, HalfPolicy, Keep, KeepParseError};
pub(crate) use ranges::watched_values;
pub use ranges::{Range, Ranges};
pub use table::{NodePrecision, PrecisionCounts, PrecisionRow, PrecisionTable};

use serde::{Deserialize, Serialize};

/// The precision a build is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The model as it is.
    Fp32,
    /// Half precision wherever the observed ranges allow it.
    Fp16,
    /// Explicit quantization; FP16 for the rest.
    Int8,
    /// The smallest of int8, mixed and fp16 that reaches the accuracy floor.
    Auto,
}

impl Precision {
    /// The name used on the command line, in manifests and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Fp16 => "fp16",
            Precision::Int8 => "int8",
            Precision::Auto => "auto",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
