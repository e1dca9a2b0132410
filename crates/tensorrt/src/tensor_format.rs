//! In which order the elements of an input or output lie in memory.

use std::fmt;

/// Order of a tensor's elements in memory. Dimensions are given as N, C, H, W in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorFormat {
    /// Row-major, the last dimension together; what sessions and files hold.
    #[default]
    Linear,
    /// The channels of a place together, unpadded; of 32-bit and 16-bit floating point.
    Hwc,
    /// The channels of a place together, their number padded to a multiple of 16.
    Hwc16,
    /// Another one, by TensorRT's number.
    Other(i32),
}

impl TensorFormat {
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Linear,
            8 => Self::Hwc,
            11 => Self::Hwc16,
            other => Self::Other(other),
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::Linear => 0,
            Self::Hwc => 8,
            Self::Hwc16 => 11,
            Self::Other(number) => number,
        }
    }

    /// This format and no other, as TensorRT takes sets of them.
    pub(crate) fn alone(self) -> u32 {
        u32::try_from(self.number()).ok().and_then(|number| 1_u32.checked_shl(number)).unwrap_or_default()
    }
}

impl fmt::Display for TensorFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linear => out.write_str("linear"),
            Self::Hwc => out.write_str("hwc"),
            Self::Hwc16 => out.write_str("hwc16"),
            Self::Other(number) => write!(out, "format {number}"),
        }
    }
}
