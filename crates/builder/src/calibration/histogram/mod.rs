//! A histogram of magnitudes whose range grows by exact doubling.
//!
//! The range is always a power of two and there are always [`BINS`] bins, so when a larger value comes, two neighbours become one bin and nothing is rebinned
//! approximately: the result depends on the values alone, not on their order or on how they were split into batches and threads.

mod encoding;
mod tally;

use tally::Tally;

/// Number of bins, as in TensorRT's own calibrator.
pub const BINS: usize = 2048;

/// Least exponent of a range; below it every magnitude falls into the first bin.
const LEAST_EXPONENT: i32 = -100;

/// Greatest exponent of a range: every finite number lies under 2^128.
const GREATEST_EXPONENT: i32 = 128;

/// Base-two logarithm of [`BINS`].
const BINS_EXPONENT: i32 = BINS.ilog2() as i32;

/// Magnitudes of one tensor over everything that was added.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The bins cover `[0, 2^exponent)`: the least range, from 2^-100 on, that holds every magnitude.
    exponent: i32,
    counts: Box<[u64; BINS]>,
    zeros: u64,
    min: f32,
    max: f32,
}

/// An element that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFinite {
    /// Its position in the slice that was added.
    pub index: usize,
    /// The element.
    pub value: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            exponent: LEAST_EXPONENT,
            counts: Box::new([0; BINS]),
            zeros: 0,
            min: f32::INFINITY,
            max: f32::NEG_INFINITY,
        }
    }
}

impl Histogram {
    /// Counts the magnitudes of `values`.
    ///
    /// # Errors
    /// The first element that is NaN or infinite; nothing is counted then.
    pub fn add(&mut self, values: &[f32]) -> Result<(), NonFinite> {
        let mut tally = Tally::new(Histogram { exponent: self.exponent, ..Histogram::default() });
        tally.add(values)?;
        self.absorb(tally.finish());
        Ok(())
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.absorb(other.clone());
    }

    fn absorb(&mut self, mut other: Histogram) {
        let exponent = self.exponent.max(other.exponent);
        self.widen(exponent);
        other.widen(exponent);
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(own, more)| *own += more);
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Upper edge of the last bin, a power of two. In 64 bits, because 2^128 is no `f32`.
    pub fn range(&self) -> f64 {
        f64::from(self.exponent).exp2()
    }

    /// Width of a bin, a power of two.
    pub fn bin_width(&self) -> f32 {
        power_of_two(self.exponent - BINS_EXPONENT)
    }

    /// How many magnitudes fell into each bin. Exact zeros are among those of the first.
    pub fn counts(&self) -> &[u64; BINS] {
        &self.counts
    }

    /// The bins up to the one that holds the largest magnitude: between half of [`BINS`] and all of them, fewer only where every magnitude is below 2^-101, none
    /// before anything was added.
    pub fn counts_in_use(&self) -> &[u64] {
        if self.is_empty() { &[] } else { &self.counts[..=bin(self.amax(), scale(self.exponent))] }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.min > self.max
    }

    /// How many elements were exactly zero.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// How many elements were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Least element; positive infinity before anything was added.
    pub fn min(&self) -> f32 {
        self.min
    }

    /// Greatest element; negative infinity before anything was added.
    pub fn max(&self) -> f32 {
        self.max
    }

    /// Largest magnitude; 0 before anything was added and for a dead tensor.
    pub fn amax(&self) -> f32 {
        if self.is_empty() { 0.0 } else { self.min.abs().max(self.max.abs()) }
    }

    /// Doubles the range until it is `2^exponent`; a smaller exponent changes nothing.
    fn widen(&mut self, exponent: i32) {
        let doublings = exponent - self.exponent;
        if doublings <= 0 {
            return;
        }
        let shift = doublings.min(BINS_EXPONENT);
        for bin in 0..BINS {
            let count = std::mem::take(&mut self.counts[bin]);
            self.counts[bin >> shift] += count;
        }
        self.exponent = exponent;
    }
}

/// Exponent of the least range that holds a finite `amax`.
fn exponent_for(amax: f32) -> i32 {
    let biased = (amax.to_bits() >> 23) as i32;
    (biased - 126).max(LEAST_EXPONENT)
}

/// Bins per unit, for ranges of `2^exponent`: multiplying by it is exact.
fn scale(exponent: i32) -> f32 {
    power_of_two(BINS_EXPONENT - exponent)
}

/// The bin of a magnitude inside the range: the product without its fraction, by an addition that leaves the rounded integer in the low bits. Several times faster
/// than a conversion, which saturates. The mask changes nothing, and spares the bounds check.
fn bin(magnitude: f32, scale: f32) -> usize {
    const ALIGN: f32 = (1 << 23) as f32;
    let product = magnitude * scale;
    let aligned = product + ALIGN;
    let rounded_up = u32::from(aligned - ALIGN > product);
    (aligned.to_bits() - rounded_up) as usize & (BINS - 1)
}

/// `2^exponent` for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}
