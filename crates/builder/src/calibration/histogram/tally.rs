//! Counting into bins at the speed of the first-level cache.
//!
//! Values are taken in chunks that stay in the cache: one pass that the compiler vectorises finds what the chunk holds, a second counts. Neighbours go to different
//! lanes of narrow counters, because equal neighbours (zeros after a ReLU) would otherwise wait for each other's store. A tally is apart from the histogram it is
//! for, so that a slice with a NaN anywhere leaves no trace.

use super::{BINS, Histogram, NonFinite, exponent_for, scale};

const CHUNK: usize = 4096;
const LANES: usize = 4;

/// Chunks after which the narrow counters are emptied, long before one could overflow.
const CHUNKS_PER_FLUSH: usize = 1 << 16;

/// A histogram while values are counted into it.
pub(super) struct Tally {
    histogram: Histogram,
    lanes: [[u32; BINS]; LANES],
}

/// What one pass over a chunk finds.
struct Extent {
    min: f32,
    max: f32,
    zeros: u32,
    finite: bool,
}

impl Tally {
    pub(super) fn new(histogram: Histogram) -> Self {
        Tally { histogram, lanes: [[0; BINS]; LANES] }
    }

    /// Counts `values`; after an error the tally is of no more use.
    pub(super) fn add(&mut self, values: &[f32]) -> Result<(), NonFinite> {
        for (number, chunk) in values.chunks(CHUNK).enumerate() {
            let extent = Extent::of(chunk);
            if !extent.finite {
                return Err(first_non_finite(values, number * CHUNK));
            }
            self.cover(&extent, number);
            self.count(chunk);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Histogram {
        self.flush();
        self.histogram
    }

    fn cover(&mut self, extent: &Extent, number: usize) {
        let histogram = &mut self.histogram;
        histogram.min = histogram.min.min(extent.min);
        histogram.max = histogram.max.max(extent.max);
        histogram.zeros += u64::from(extent.zeros);
        let exponent = exponent_for(histogram.amax());
        if exponent > histogram.exponent || number % CHUNKS_PER_FLUSH == CHUNKS_PER_FLUSH - 1 {
            self.flush();
            self.histogram.widen(exponent);
        }
    }

    fn count(&mut self, chunk: &[f32]) {
        let scale = scale(self.histogram.exponent);
        let mut bins = [0; CHUNK];
        let bins = &mut bins[..chunk.len()];
        bins.iter_mut().zip(chunk).for_each(|(bin, value)| *bin = super::bin(value.abs(), scale) as u32);
        let (groups, rest) = bins.as_chunks::<LANES>();
        for group in groups {
            for (lane, &bin) in self.lanes.iter_mut().zip(group) {
                lane[bin as usize & (BINS - 1)] += 1;
            }
        }
        for &bin in rest {
            self.lanes[0][bin as usize & (BINS - 1)] += 1;
        }
    }

    fn flush(&mut self) {
        for lane in &mut self.lanes {
            self.histogram.counts.iter_mut().zip(&*lane).for_each(|(count, more)| *count += u64::from(*more));
            lane.fill(0);
        }
    }
}

impl Extent {
    /// Extremes by integer keys, which the compiler can reorder and so vectorise; a NaN has a key beyond those of all numbers.
    fn of(chunk: &[f32]) -> Self {
        let (mut least, mut greatest, mut zeros) = (i32::MAX, i32::MIN, 0);
        for &value in chunk {
            least = least.min(key(value));
            greatest = greatest.max(key(value));
            zeros += u32::from(value == 0.0);
        }
        let (min, max) = (number(least), number(greatest));
        // A negative zero becomes a positive one, so that the order of the two cannot show.
        Extent { min: min + 0.0, max: max + 0.0, zeros, finite: min.is_finite() && max.is_finite() }
    }
}

/// An integer that compares as the number does, -0 just below 0.
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The number of a key.
fn number(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)) as u32)
}

fn first_non_finite(values: &[f32], from: usize) -> NonFinite {
    let index = from + values[from..].iter().take_while(|value| value.is_finite()).count();
    NonFinite { index, value: values[index] }
}
