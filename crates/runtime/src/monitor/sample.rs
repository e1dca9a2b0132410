//! What was seen at one moment.

use std::time::Duration;

use super::Values;

/// What was seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// When, since the start of the monitor.
    pub at: Duration,
    /// What.
    pub values: Values,
}
