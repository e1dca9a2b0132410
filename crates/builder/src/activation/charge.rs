//! One line of an account: something that is there at the peak, where it lies, and what of it is charged.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that is there while the kernel runs that needs most memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Name of the tensor, or of the node whose scratch memory it is.
    pub name: String,
    /// Element type and shape of a tensor, as far as they are known.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub ty: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// What of it is part of the activation memory; 0 for what lies elsewhere, or in something that is charged already.
    pub charged_bytes: u64,
    /// Where it lies.
    pub place: Place,
    /// Why it is there.
    pub reason: String,
}

/// Where something lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of", rename_all = "kebab-case")]
pub enum Place {
    /// In a part of the activation memory of its own.
    Activation,
    /// Scratch memory of a kernel, in the activation memory.
    Workspace,
    /// Between tensors in the activation memory: nothing fits there.
    Gap,
    /// In another tensor, as a part that is written in place or as a view.
    Inside(String),
    /// In the caller's buffer of an input.
    Input,
    /// In the caller's buffer of an output.
    Output,
    /// Among the weights.
    Weights,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Activation => out.write_str("activation"),
            Place::Workspace => out.write_str("workspace"),
            Place::Gap => out.write_str("gap"),
            Place::Inside(tensor) => write!(out, "in {tensor}"),
            Place::Input => out.write_str("input buffer"),
            Place::Output => out.write_str("output buffer"),
            Place::Weights => out.write_str("weights"),
        }
    }
}
