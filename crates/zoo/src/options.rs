//! What a caller may choose about a generated model, and the checks of those choices.

use crate::error::Error;
use crate::variants::Variant;

/// The input is halved five times, so its side is a multiple of this many pixels.
pub(crate) const SIZE_STEP: u32 = 32;
/// Far past any camera; keeps the number of positions well inside 32 bits.
pub(crate) const LARGEST_SIZE: u32 = 8192;

/// The first dimension of every input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// That many images, at least one.
    Fixed(u32),
    /// Any number of images; the dimension is named `batch`.
    Dynamic,
}

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which network.
    pub variant: Variant,
    /// Images per run.
    pub batch: Batch,
    /// Side of the square input in pixels, a multiple of 32 from 32 to 8192; the variant's own (640, nano 416) when absent.
    pub size: Option<u32>,
    /// Leave the decoding out and return the six head maps.
    pub raw: bool,
    /// Chooses the weights.
    pub seed: u64,
}

impl Options {
    /// One image of the variant's own size, decoded outputs, seed 0.
    pub fn new(variant: Variant) -> Self {
        Self { variant, batch: Batch::Fixed(1), size: None, raw: false, seed: 0 }
    }

    pub(crate) fn checked_size(&self) -> Result<u32, Error> {
        let size = self.size.unwrap_or(self.variant.default_size());
        let fits = size.is_multiple_of(SIZE_STEP) && (SIZE_STEP..=LARGEST_SIZE).contains(&size);
        if fits { Ok(size) } else { Err(Error::Size { size }) }
    }

    pub(crate) fn check_batch(&self) -> Result<(), Error> {
        match self.batch {
            Batch::Fixed(0) => Err(Error::EmptyBatch),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: u32) -> Result<u32, Error> {
        Options { size: Some(size), ..Options::new(Variant::T) }.checked_size()
    }

    #[test]
    fn the_variant_chooses_the_size_when_nobody_does() {
        assert_eq!(Options::new(Variant::T).checked_size(), Ok(640));
        assert_eq!(Options::new(Variant::Nm).checked_size(), Ok(416));
    }

    #[test]
    fn sizes_that_cannot_be_halved_five_times_are_refused() {
        assert_eq!(sized(32), Ok(32));
        assert_eq!(sized(LARGEST_SIZE), Ok(LARGEST_SIZE));
        for size in [0, 16, 33, 639, LARGEST_SIZE + 32, u32::MAX] {
            assert_eq!(sized(size), Err(Error::Size { size }));
        }
    }

    #[test]
    fn an_empty_batch_is_refused() {
        let empty = Options { batch: Batch::Fixed(0), ..Options::new(Variant::T) };
        assert_eq!(empty.check_batch(), Err(Error::EmptyBatch));
        assert!(Error::EmptyBatch.hint().is_some());
    }
}
