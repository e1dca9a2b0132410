//! Shapes without a heap: at most eight dimensions, copied like a number.

use std::fmt;
use std::ops::Deref;

/// Most dimensions that a tensor has; TensorRT's limit.
pub const MAX_RANK: usize = 8;

/// Sizes of a tensor's dimensions, at most [`MAX_RANK`] of them. Reads as a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    sizes: [u64; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// A shape of these sizes; nothing where there are more than [`MAX_RANK`].
    #[must_use]
    pub fn new(sizes: &[u64]) -> Option<Self> {
        let mut shape = Self { rank: sizes.len(), ..Self::default() };
        shape.sizes.get_mut(..sizes.len())?.copy_from_slice(sizes);
        Some(shape)
    }

    /// Number of elements; nothing where it does not fit 64 bits.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.iter().try_fold(1u64, |count, &size| count.checked_mul(size))
    }

    /// This shape with another first dimension; itself where there is none.
    #[must_use]
    pub fn with_batch(mut self, batch: u64) -> Self {
        if self.rank > 0 {
            self.sizes[0] = batch;
        }
        self
    }

    /// Whether each size lies between those of `min` and `max`, ends included, and the ranks agree.
    #[must_use]
    pub fn within(&self, min: &Self, max: &Self) -> bool {
        let fits = |((size, min), max): ((&u64, &u64), &u64)| min <= size && size <= max;
        self.rank == min.rank && self.rank == max.rank && self.iter().zip(min.iter()).zip(max.iter()).all(fits)
    }

    pub(crate) fn set(&mut self, axis: usize, size: u64) {
        self.sizes[..self.rank][axis] = size;
    }
}

impl Deref for Shape {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.sizes[..self.rank]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rank == 0 {
            return out.write_str("scalar");
        }
        for (axis, size) in self.iter().enumerate() {
            write!(out, "{}{size}", if axis == 0 { "" } else { "x" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_compare_by_dimension_and_rank() {
        let shape = |sizes: &[u64]| Shape::new(sizes).unwrap();
        let (min, max) = (shape(&[1, 3]), shape(&[8, 3]));
        assert!(shape(&[8, 3]).within(&min, &max));
        assert!(!shape(&[9, 3]).within(&min, &max));
        assert!(!shape(&[8, 4]).within(&min, &max));
        assert!(!shape(&[8]).within(&min, &max));
        assert!(Shape::new(&[1; MAX_RANK + 1]).is_none());
    }

    #[test]
    fn elements_do_not_wrap() {
        assert_eq!(Shape::new(&[]).unwrap().elements(), Some(1));
        assert_eq!(Shape::new(&[u64::MAX, 2]).unwrap().elements(), None);
        assert_eq!(Shape::new(&[0, 5]).unwrap().elements(), Some(0));
    }
}
