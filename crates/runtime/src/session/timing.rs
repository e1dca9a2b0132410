//! How long the parts of a run took.

use std::time::Duration;

/// How long the parts of a run took, on the clock of where it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunTiming {
    /// Copies of inputs to the device; zero where nothing is copied.
    pub copy_in: Duration,
    /// The engine itself. On a GPU this includes waiting for a workspace that another session was using.
    pub compute: Duration,
    /// Copies of outputs to the host; zero where nothing is copied.
    pub copy_out: Duration,
}

impl RunTiming {
    /// A run where nothing is copied.
    pub(crate) fn computed(compute: Duration) -> Self {
        Self { compute, ..Self::default() }
    }
}
