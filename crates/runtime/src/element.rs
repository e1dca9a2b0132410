//! Element types that tensors of engines have, and the Rust types that view them.

use std::fmt;

use half::f16;

/// The element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit floating point.
    Float32,
    /// 16-bit floating point.
    Float16,
    /// Signed 8-bit integer.
    Int8,
    /// Unsigned 8-bit integer.
    UInt8,
    /// Signed 32-bit integer.
    Int32,
    /// Signed 64-bit integer.
    Int64,
    /// Truth value, one byte that is 0 or 1.
    Bool,
}

impl ElementType {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Int64 => 8,
            Self::Float32 | Self::Int32 => 4,
            Self::Float16 => 2,
            Self::Int8 | Self::UInt8 | Self::Bool => 1,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Float32 => "f32",
            Self::Float16 => "f16",
            Self::Int8 => "i8",
            Self::UInt8 => "u8",
            Self::Int32 => "i32",
            Self::Int64 => "i64",
            Self::Bool => "bool",
        })
    }
}

/// A Rust type that views a tensor's memory without a copy.
pub trait Element: sealed::View + Copy + 'static {
    /// The element type it views.
    const TYPE: ElementType;
}

mod sealed {
    /// How bytes become elements; outside this crate nobody adds a type.
    pub trait View: Sized {
        /// `bytes` as elements; nothing where length, alignment or a value does not fit.
        fn view(bytes: &[u8]) -> Option<&[Self]>;
        /// `bytes` as elements that can be written; values that are none become the type's zero first.
        fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]>;
    }
}
pub(crate) use sealed::View;

macro_rules! plain {
    ($($rust:ty => $element:ident),*) => {$(
        impl View for $rust {
            fn view(bytes: &[u8]) -> Option<&[Self]> {
                bytemuck::try_cast_slice(bytes).ok()
            }
            fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]> {
                bytemuck::try_cast_slice_mut(bytes).ok()
            }
        }
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$element;
        }
    )*};
}

plain!(f32 => Float32, f16 => Float16, i8 => Int8, u8 => UInt8, i32 => Int32, i64 => Int64);

impl View for bool {
    fn view(bytes: &[u8]) -> Option<&[Self]> {
        bytemuck::checked::try_cast_slice(bytes).ok()
    }

    // A writer of truth values through bytes is checked at every later view, so a slice of `bool` is never handed out over
    // bytes that are none.
    fn view_mut(bytes: &mut [u8]) -> Option<&mut [Self]> {
        bytes.iter_mut().filter(|byte| **byte > 1).for_each(|byte| *byte = 0);
        bytemuck::checked::try_cast_slice_mut(bytes).ok()
    }
}

impl Element for bool {
    const TYPE: ElementType = ElementType::Bool;
}
