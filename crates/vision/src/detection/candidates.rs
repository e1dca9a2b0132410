//! What a decoder collects: boxes whose score is high enough, and how much of the output made no sense.

use std::ops::AddAssign;

use super::bounds::BoundingBox;

/// Boxes in pixels of the network's input, before any is suppressed. Kept from image to image, so that its memory is too.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    least_score: f32,
    pub(crate) bounds: Vec<BoundingBox>,
    pub(crate) scores: Vec<f32>,
    pub(crate) classes: Vec<u32>,
    rejected: Rejected,
}

/// Boxes that were left out because they make no sense. A network that is whole has none of the first three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Rejected {
    /// A score or a side is not a number, or is infinite.
    pub not_finite: u64,
    /// The class is no number, or a larger one than networks have.
    pub no_class: u64,
    /// The right side is left of the left one, the lower above the upper, or both lie on each other.
    pub inverted: u64,
    /// Nothing of the box lies in the photograph.
    pub outside: u64,
}

impl Rejected {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.not_finite + self.no_class + self.inverted + self.outside
    }
}

impl AddAssign for Rejected {
    fn add_assign(&mut self, other: Self) {
        self.not_finite += other.not_finite;
        self.no_class += other.no_class;
        self.inverted += other.inverted;
        self.outside += other.outside;
    }
}

impl Candidates {
    /// None yet; boxes that score less than `least_score`, or 0, will not be taken.
    pub fn new(least_score: f32) -> Self {
        Self { least_score: least_score.max(f32::MIN_POSITIVE), ..Self::default() }
    }

    /// Forgets all boxes and counts.
    pub fn clear(&mut self) {
        self.bounds.clear();
        self.scores.clear();
        self.classes.clear();
        self.rejected = Rejected::default();
    }

    /// Boxes taken.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// What was left out so far.
    pub fn rejected(&self) -> Rejected {
        self.rejected
    }

    /// The least score taken.
    pub fn least_score(&self) -> f32 {
        self.least_score
    }

    /// Whether a score is high enough, or not a number and so to be counted.
    #[inline]
    pub fn concerns(&self, score: f32) -> bool {
        at_least_or_unordered(score, self.least_score)
    }

    /// Whether any of these scores [concerns](Self::concerns) us; the fast way past nearly all of them.
    #[inline]
    pub fn concern_any(&self, scores: &[f32]) -> bool {
        let least = self.least_score;
        scores.iter().fold(false, |any, &score| any | at_least_or_unordered(score, least))
    }

    /// Takes a box, or counts why not. A score below the least is passed over in silence.
    pub fn push(&mut self, bounds: BoundingBox, score: f32, class: u32) {
        if !self.concerns(score) {
            return;
        }
        if !score.is_finite() || !bounds.is_finite() {
            self.rejected.not_finite += 1;
        } else if bounds.is_empty() {
            self.rejected.inverted += 1;
        } else {
            self.bounds.push(bounds);
            self.scores.push(score);
            self.classes.push(class);
        }
    }

    /// Counts a box whose class is none.
    pub(crate) fn push_without_class(&mut self, score: f32) {
        self.rejected.no_class += u64::from(self.concerns(score));
    }

    /// Takes a box for each class that scores enough; `factor` is on every score, such as an objectness.
    pub fn push_classes(&mut self, bounds: BoundingBox, factor: f32, scores: impl Iterator<Item = f32>) {
        for (class, score) in scores.enumerate() {
            self.push(bounds, score * factor, class as u32);
        }
    }
}

/// `score >= least`, and true for a score that is not a number.
#[inline]
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a score that is not a number must pass")]
fn at_least_or_unordered(score: f32, least: f32) -> bool {
    !(score < least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: BoundingBox = BoundingBox::corners(0.0, 0.0, 1.0, 1.0);

    #[test]
    fn what_makes_no_sense_is_counted_and_what_is_weak_is_not() {
        let mut candidates = Candidates::new(0.5);
        candidates.push(SQUARE, 0.5, 3);
        candidates.push(SQUARE, 0.49, 3);
        candidates.push(SQUARE, f32::NAN, 3);
        candidates.push(SQUARE, f32::INFINITY, 3);
        candidates.push(BoundingBox::corners(f32::NAN, 0.0, 1.0, 1.0), 0.9, 3);
        candidates.push(BoundingBox::corners(2.0, 0.0, 1.0, 1.0), 0.9, 3);
        candidates.push(BoundingBox::corners(1.0, 0.0, 1.0, 1.0), 0.9, 3);
        candidates.push(BoundingBox::corners(1.0, 0.0, 0.0, 1.0), 0.1, 3);
        assert_eq!((candidates.len(), candidates.classes.as_slice()), (1, &[3][..]));
        assert_eq!(candidates.rejected(), Rejected { not_finite: 3, no_class: 0, inverted: 2, outside: 0 });
        candidates.clear();
        assert_eq!((candidates.len(), candidates.rejected().total()), (0, 0));
    }

    #[test]
    fn a_least_score_of_nothing_still_leaves_out_nothing() {
        let mut candidates = Candidates::new(0.0);
        candidates.push(SQUARE, 0.0, 0);
        candidates.push(SQUARE, -1.0, 0);
        assert!(candidates.is_empty());
        assert!(candidates.concern_any(&[0.0, f32::NAN]) && !candidates.concern_any(&[0.0, -3.0]));
    }
}
