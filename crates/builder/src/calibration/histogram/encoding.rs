//! A histogram as bytes, for files that hold one per tensor.
//!
//! Little-endian: exponent (i16), min and max (f32), zeros (u64), number of bins in use (u16), then their counts (u64). The bins behind the largest magnitude are
//! empty and left out. The reader accepts what the writer can have written and nothing else: every histogram it gives back is one that some values have.

use super::{BINS, GREATEST_EXPONENT, Histogram, LEAST_EXPONENT, bin, exponent_for, scale};

impl Histogram {
    /// Appends the histogram to `out`: 20 bytes and 8 per bin in use.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let counts = self.counts_in_use();
        out.extend((self.exponent as i16).to_le_bytes());
        out.extend(self.min.to_le_bytes());
        out.extend(self.max.to_le_bytes());
        out.extend(self.zeros.to_le_bytes());
        out.extend((counts.len() as u16).to_le_bytes());
        out.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
    }

    /// Takes one histogram off the front of `bytes`; `None`, with `bytes` wherever reading stopped, where they hold none.
    pub fn decode(bytes: &mut &[u8]) -> Option<Histogram> {
        let exponent = i32::from(i16::from_le_bytes(take(bytes)?));
        let (min, max) = (f32::from_le_bytes(take(bytes)?), f32::from_le_bytes(take(bytes)?));
        let zeros = u64::from_le_bytes(take(bytes)?);
        let used = usize::from(u16::from_le_bytes(take(bytes)?));
        let mut counts = Box::new([0; BINS]);
        for count in counts.get_mut(..used)? {
            *count = u64::from_le_bytes(take(bytes)?);
        }
        let histogram = Histogram { exponent, counts, zeros, min, max };
        histogram.is_consistent(used).then_some(histogram)
    }

    fn is_consistent(&self, used: usize) -> bool {
        if used == 0 {
            return *self == Histogram::default();
        }
        let ordered = self.min.is_finite() && self.max.is_finite() && self.min <= self.max;
        let canonical = [self.min, self.max].iter().all(|edge| edge.to_bits() != (-0.0f32).to_bits());
        ordered && canonical && self.fits_its_range(used) && self.counts_add_up(used)
    }

    fn fits_its_range(&self, used: usize) -> bool {
        (LEAST_EXPONENT..=GREATEST_EXPONENT).contains(&self.exponent)
            && self.exponent == exponent_for(self.amax())
            && bin(self.amax(), scale(self.exponent)) + 1 == used
    }

    fn counts_add_up(&self, used: usize) -> bool {
        let total = self.counts.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let zero_inside = self.min <= 0.0 && self.max >= 0.0;
        let zero_at_an_edge = self.min == 0.0 || self.max == 0.0;
        total.is_some()
            && self.counts[used - 1] > 0
            && self.zeros <= self.counts[0]
            && (zero_inside || self.zeros == 0)
            && (!zero_at_an_edge || self.zeros > 0)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
