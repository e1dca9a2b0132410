//! Events that stand beside samples.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Longest label, in characters; what goes past it is cut.
pub const LONGEST_LABEL: usize = 60;

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// When, in seconds since the start of the monitor.
    pub at_s: f64,
    /// What: one line of at most [`LONGEST_LABEL`] characters.
    pub label: String,
}

impl Mark {
    /// An event at `at` since the start.
    #[must_use]
    pub fn new(at: Duration, label: &str) -> Self {
        let printable = |character: char| if character.is_control() { ' ' } else { character };
        Self { at_s: at.as_secs_f64(), label: label.chars().take(LONGEST_LABEL).map(printable).collect() }
    }
}
