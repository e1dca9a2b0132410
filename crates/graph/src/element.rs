//! Element types of tensors, by ONNX's numbers.
//!
//! One enum for the whole workspace, so that no other place repeats the numbers. A number that is not listed stays
//! representable ([`ElementType::Other`]); it must never be turned into a guess.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ElementType {
    Float32,
    UInt8,
    Int8,
    UInt16,
    Int16,
    Int32,
    Int64,
    String,
    Bool,
    Float16,
    Float64,
    UInt32,
    UInt64,
    Complex64,
    Complex128,
    BFloat16,
    Float8E4M3Fn,
    Float8E4M3FnUz,
    Float8E5M2,
    Float8E5M2FnUz,
    UInt4,
    Int4,
    Float4E2M1,
    Float8E8M0,
    UInt2,
    Int2,
    Float6E2M3,
    Float6E3M2,
    /// A number that is not in the list above.
    Other(i32),
}

use ElementType::*;

/// ONNX number, type, name, bits of one element (0: no fixed size).
const TABLE: &[(i32, ElementType, &str, u32)] = &[
    (1, Float32, "float32", 32),
    (2, UInt8, "uint8", 8),
    (3, Int8, "int8", 8),
    (4, UInt16, "uint16", 16),
    (5, Int16, "int16", 16),
    (6, Int32, "int32", 32),
    (7, Int64, "int64", 64),
    (8, String, "string", 0),
    (9, Bool, "bool", 8),
    (10, Float16, "float16", 16),
    (11, Float64, "float64", 64),
    (12, UInt32, "uint32", 32),
    (13, UInt64, "uint64", 64),
    (14, Complex64, "complex64", 64),
    (15, Complex128, "complex128", 128),
    (16, BFloat16, "bfloat16", 16),
    (17, Float8E4M3Fn, "float8e4m3fn", 8),
    (18, Float8E4M3FnUz, "float8e4m3fnuz", 8),
    (19, Float8E5M2, "float8e5m2", 8),
    (20, Float8E5M2FnUz, "float8e5m2fnuz", 8),
    (21, UInt4, "uint4", 4),
    (22, Int4, "int4", 4),
    (23, Float4E2M1, "float4e2m1", 4),
    (24, Float8E8M0, "float8e8m0", 8),
    (25, UInt2, "uint2", 2),
    (26, Int2, "int2", 2),
    (27, Float6E2M3, "float6e2m3", 6),
    (28, Float6E3M2, "float6e3m2", 6),
];

impl ElementType {
    /// The type for a number of ONNX's `TensorProto.DataType`.
    pub fn from_onnx(number: i32) -> Self {
        TABLE.iter().find(|row| row.0 == number).map_or(Other(number), |row| row.1)
    }

    /// The number in ONNX's `TensorProto.DataType`.
    pub fn to_onnx(self) -> i32 {
        match self {
            Other(number) => number,
            known => known.row().map_or(0, |row| row.0),
        }
    }

    /// Bits of one element; `None` for strings and unknown types.
    pub fn size_bits(self) -> Option<u32> {
        self.row().map(|row| row.3).filter(|&bits| bits != 0)
    }

    /// Bytes of `count` packed elements (those below 8 bits share bytes); `None` without a fixed size or on overflow.
    pub fn bytes_for(self, count: u64) -> Option<u64> {
        match u64::from(self.size_bits()?) {
            bits if bits >= 8 => count.checked_mul(bits / 8),
            bits => Some(count.checked_mul(bits)?.div_ceil(8)),
        }
    }

    /// Whether this is a floating-point type of any width.
    pub fn is_float(self) -> bool {
        matches!(self, Float32 | Float16 | Float64 | BFloat16) || self.is_small_float()
    }

    fn is_small_float(self) -> bool {
        matches!(self, Float8E4M3Fn | Float8E4M3FnUz | Float8E5M2 | Float8E5M2FnUz | Float8E8M0)
            || matches!(self, Float4E2M1 | Float6E2M3 | Float6E3M2)
    }

    fn row(self) -> Option<&'static (i32, ElementType, &'static str, u32)> {
        TABLE.iter().find(|row| row.1 == self)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Other(number) => write!(formatter, "type#{number}"),
            known => formatter.write_str(known.row().map_or("unknown", |row| row.2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_both_ways() {
        for number in -3..60 {
            assert_eq!(ElementType::from_onnx(number).to_onnx(), number);
        }
    }

    #[test]
    fn packed_types_share_bytes() {
        assert_eq!(Int4.bytes_for(3), Some(2));
        assert_eq!(UInt2.bytes_for(5), Some(2));
        assert_eq!(Float6E2M3.bytes_for(3), Some(3));
        assert_eq!(Float32.bytes_for(5), Some(20));
        assert_eq!(String.bytes_for(5), None);
        assert_eq!(Float64.bytes_for(u64::MAX), None);
    }
}
