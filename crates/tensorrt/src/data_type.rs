//! Element types of TensorRT's tensors.

use std::fmt;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point, IEEE half precision.
    Float16,
    /// Signed 8-bit integer, in quantized tensors scaled.
    Int8,
    /// Signed 32-bit integer.
    Int32,
    /// Truth value in one byte.
    Bool,
    /// Unsigned 8-bit integer.
    UInt8,
    /// 8-bit floating point, E4M3.
    Float8,
    /// 16-bit floating point with the range of 32 bits.
    BFloat16,
    /// Signed 64-bit integer.
    Int64,
    /// Signed 4-bit integer.
    Int4,
    /// 4-bit floating point, E2M1.
    Float4,
    /// 8-bit exponent, used as a block scale.
    Exponent8,
    /// A type that a newer TensorRT added, by its number.
    Other(i32),
}

impl DataType {
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Float32,
            1 => Self::Float16,
            2 => Self::Int8,
            3 => Self::Int32,
            4 => Self::Bool,
            5 => Self::UInt8,
            6 => Self::Float8,
            7 => Self::BFloat16,
            8 => Self::Int64,
            9 => Self::Int4,
            10 => Self::Float4,
            11 => Self::Exponent8,
            other => Self::Other(other),
        }
    }

    /// Bits of one element; `None` for a type this crate does not know.
    #[must_use]
    pub fn size_bits(self) -> Option<u64> {
        Some(match self {
            Self::Int64 => 64,
            Self::Float32 | Self::Int32 => 32,
            Self::Float16 | Self::BFloat16 => 16,
            Self::Int8 | Self::Bool | Self::UInt8 | Self::Float8 | Self::Exponent8 => 8,
            Self::Int4 | Self::Float4 => 4,
            Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
            Self::Int32 => "int32",
            Self::Bool => "bool",
            Self::UInt8 => "uint8",
            Self::Float8 => "float8",
            Self::BFloat16 => "bfloat16",
            Self::Int64 => "int64",
            Self::Int4 => "int4",
            Self::Float4 => "float4",
            Self::Exponent8 => "exponent8",
            Self::Other(number) => return write!(out, "type {number}"),
        })
    }
}
