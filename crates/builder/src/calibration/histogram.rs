//! A histogram of magnitudes whose range grows by exact doubling.
//!
//! The range is always a power of two and there are always [`BINS`] bins, so when a larger value comes, two neighbours become one bin and nothing is rebinned
//! approximately: the result depends on the values alone, not on their order or on how they were split into batches and threads.

/// Number of bins, as in TensorRT's own calibrator.
pub const BINS: usize = 2048;

/// Least exponent of a range; below it every magnitude falls into the first bin.
const LEAST_EXPONENT: i32 = -100;

/// Magnitudes of one tensor over everything that was added.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The bins cover `[0, 2^exponent)`.
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
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(NonFinite { index, value: values[index] });
        }
        for &value in values {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        self.cover(self.amax());
        let scale = BINS as f32 / self.range();
        for &value in values {
            self.zeros += u64::from(value == 0.0);
            self.counts[((value.abs() * scale) as usize).min(BINS - 1)] += 1;
        }
        Ok(())
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        let mut other = other.clone();
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.cover(other.amax());
        other.cover(self.amax());
        self.zeros += other.zeros;
        self.counts.iter_mut().zip(other.counts.iter()).for_each(|(own, more)| *own += more);
    }

    /// Upper edge of the last bin.
    pub fn range(&self) -> f32 {
        (self.exponent as f32).exp2()
    }

    /// Width of a bin.
    pub fn bin_width(&self) -> f32 {
        self.range() / BINS as f32
    }

    /// How many magnitudes fell into each bin. Exact zeros are among those of the first.
    pub fn counts(&self) -> &[u64; BINS] {
        &self.counts
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
        if self.min > self.max { 0.0 } else { self.min.abs().max(self.max.abs()) }
    }

    /// Doubles the range until `amax` lies inside.
    fn cover(&mut self, amax: f32) {
        while self.range() <= amax {
            self.exponent += 1;
            for bin in 0..BINS {
                self.counts[bin] = if bin < BINS / 2 { self.counts[2 * bin] + self.counts[2 * bin + 1] } else { 0 };
            }
        }
    }
}
