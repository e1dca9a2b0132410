//! What a network puts out, as decoders see it: names, shapes and numbers.

use std::fmt;

use crate::classes::MOST_CLASSES;

/// Whether an output holds fractions or whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Floating point.
    Fractions,
    /// Integers.
    Whole,
}

/// An output without its numbers; enough to choose a decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputShape {
    /// Its name.
    pub name: String,
    /// Its dimensions, the batch first.
    pub dimensions: Vec<usize>,
    /// What it holds.
    pub numbers: Numbers,
}

impl OutputShape {
    /// An output of fractions.
    pub fn fractions(name: &str, dimensions: &[usize]) -> Self {
        Self { name: name.to_owned(), dimensions: dimensions.to_vec(), numbers: Numbers::Fractions }
    }

    /// An output of whole numbers.
    pub fn whole(name: &str, dimensions: &[usize]) -> Self {
        Self { name: name.to_owned(), dimensions: dimensions.to_vec(), numbers: Numbers::Whole }
    }

    /// The dimensions behind the batch, where there are `N` of them and none is 0.
    pub(super) fn row<const N: usize>(&self) -> Option<[usize; N]> {
        let row: [usize; N] = self.dimensions.get(1..)?.try_into().ok()?;
        (!row.contains(&0)).then_some(row)
    }

    /// As [`Self::row`], for fractions only.
    pub(super) fn fraction_row<const N: usize>(&self) -> Option<[usize; N]> {
        self.row().filter(|_| self.numbers == Numbers::Fractions)
    }

    /// As [`Self::row`], for whole numbers only.
    pub(super) fn whole_row<const N: usize>(&self) -> Option<[usize; N]> {
        self.row().filter(|_| self.numbers == Numbers::Whole)
    }

    /// Whether one of these words is in the name.
    pub(super) fn is_called(&self, words: &[&str]) -> bool {
        let name = self.name.to_lowercase();
        words.iter().any(|word| name.contains(word))
    }

    /// Numbers that one image has in this output.
    pub(super) fn row_length(&self) -> usize {
        self.dimensions.iter().skip(1).product()
    }
}

impl fmt::Display for OutputShape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = match self.numbers {
            Numbers::Fractions => "float",
            Numbers::Whole => "int",
        };
        let sizes: Vec<String> = self.dimensions.iter().map(usize::to_string).collect();
        write!(out, "{} {numbers} [{}]", self.name, sizes.join(","))
    }
}

/// What a network gives as the class of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClassNumber {
    /// A class.
    Class(u32),
    /// Negative: the row is padding.
    Unused,
    /// No number, or more than a network can have.
    Impossible,
}

/// The numbers of an output, all images of a batch one behind the other.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// 32-bit floating point; half precision is widened by whoever reads the network.
    F32(&'a [f32]),
    /// 32-bit integers.
    I32(&'a [i32]),
    /// 64-bit integers.
    I64(&'a [i64]),
}

impl<'a> Values<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers from `start` on, `length` of them.
    pub(super) fn part(&self, start: usize, length: usize) -> Option<Self> {
        let range = start..start.checked_add(length)?;
        Some(match self {
            Self::F32(values) => Self::F32(values.get(range)?),
            Self::I32(values) => Self::I32(values.get(range)?),
            Self::I64(values) => Self::I64(values.get(range)?),
        })
    }

    /// The fractions; nothing where these are whole numbers, which a decoder has excluded by the shape.
    pub(super) fn fractions(&self) -> &'a [f32] {
        match self {
            Self::F32(values) => values,
            Self::I32(_) | Self::I64(_) => &[],
        }
    }

    /// The class at `index`; one that is not there belongs to a box that is none.
    pub(super) fn class(&self, index: usize) -> ClassNumber {
        let is_negative = match self {
            Self::F32(values) => values.get(index).is_none_or(|value| *value < 0.0),
            Self::I32(values) => values.get(index).is_none_or(|value| *value < 0),
            Self::I64(values) => values.get(index).is_none_or(|value| *value < 0),
        };
        match self.whole(index) {
            Some(class) if (class as usize) < MOST_CLASSES => ClassNumber::Class(class),
            _ if is_negative => ClassNumber::Unused,
            _ => ClassNumber::Impossible,
        }
    }

    /// The number at `index` as a whole one. Fractions are rounded, as some plug-ins give classes in floating point. Nothing
    /// where it is negative, beyond 32 bits, or not there.
    pub(super) fn whole(&self, index: usize) -> Option<u32> {
        match self {
            Self::F32(values) => {
                let value = values.get(index)?.round();
                (0.0..=16_777_216.0).contains(&value).then_some(value as u32)
            }
            Self::I32(values) => u32::try_from(*values.get(index)?).ok(),
            Self::I64(values) => u32::try_from(*values.get(index)?).ok(),
        }
    }
}
