//! YOLOv8, v9, 11 and 12: `[B,4+C,A]`, channels first, with centre and size in input pixels and class probabilities; there
//! is no objectness.

use super::grid;
use super::output::{OutputShape, Values};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str = "one output [B,4+C,A], one anchor per cell of strides 8, 16 and 32 (also with 64)";

/// Anchors, and classes of each.
#[derive(Debug, Clone)]
pub(super) struct YoloV8 {
    anchors: usize,
    classes: usize,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<YoloV8> {
    let levels = [grid::THREE_LEVELS, grid::FOUR_LEVELS];
    named(outputs).filter(|layout| levels.into_iter().any(|strides| grid::count(input, strides) == layout.anchors))
}

/// As [`fit`], whatever the number of anchors.
pub(super) fn named(outputs: &[OutputShape]) -> Option<YoloV8> {
    let [output] = outputs else { return None };
    let [channels, anchors] = output.fraction_row::<2>()?;
    (channels > 4).then(|| YoloV8 { anchors, classes: channels - 4 })
}

impl YoloV8 {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let values = outputs[0].fractions();
        let (boxes, scores) = values.split_at(4 * self.anchors);
        let side = |at: usize, side: usize| boxes[side * self.anchors + at];
        for (class, scores) in scores.chunks_exact(self.anchors).enumerate() {
            if !into.concern_any(scores) {
                continue;
            }
            for (at, &score) in scores.iter().enumerate() {
                if into.concerns(score) {
                    let bounds = BoundingBox::centred(side(at, 0), side(at, 1), side(at, 2), side(at, 3));
                    into.push(bounds, score, class as u32);
                }
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
