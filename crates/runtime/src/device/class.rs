//! What memory is for.

use std::fmt;

/// What memory is for. Every allocation has a class, which decides where it lies and which budget it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Weights of an engine.
    Weights,
    /// Values inside a network while it runs.
    Activation,
    /// Inputs and outputs, on the device.
    Io,
    /// Host memory that the device reads: locked, and fast to write rather than to read.
    PinnedInput,
    /// Host memory that the device writes: locked.
    PinnedOutput,
}

impl Class {
    /// All classes, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Weights, Self::Activation, Self::Io, Self::PinnedInput, Self::PinnedOutput];

    /// Whether it is host memory beside a device.
    #[must_use]
    pub const fn is_pinned(self) -> bool {
        matches!(self, Self::PinnedInput | Self::PinnedOutput)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Weights => "weights",
            Self::Activation => "activation",
            Self::Io => "input/output",
            Self::PinnedInput => "pinned input",
            Self::PinnedOutput => "pinned output",
        })
    }
}
