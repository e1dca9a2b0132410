//! YOLOv5 and YOLOv7: `[B,A,5+C]` with centre and size in input pixels, objectness and class probabilities; three anchors
//! per cell.

use super::grid;
use super::output::{OutputShape, Values};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str = "one output [B,A,5+C] of decoded boxes; three anchors per cell of strides 8, 16 and 32 (also with 64, or without 8)";

/// How wide a row is.
#[derive(Debug, Clone)]
pub(super) struct YoloV5 {
    columns: usize,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<YoloV5> {
    let levels = [grid::THREE_LEVELS, grid::FOUR_LEVELS, grid::TWO_LEVELS];
    let fits = |anchors: usize| levels.into_iter().any(|strides| 3 * grid::count(input, strides) == anchors);
    named(outputs).filter(|_| fits(outputs[0].dimensions[1]))
}

/// As [`fit`], whatever the number of anchors.
pub(super) fn named(outputs: &[OutputShape]) -> Option<YoloV5> {
    let [output] = outputs else { return None };
    let [_, columns] = output.fraction_row::<2>()?;
    (columns > 5).then_some(YoloV5 { columns })
}

impl YoloV5 {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        for row in outputs[0].fractions().chunks_exact(self.columns) {
            if into.concerns(row[4]) {
                let bounds = BoundingBox::centred(row[0], row[1], row[2], row[3]);
                into.push_classes(bounds, row[4], row[5..].iter().copied());
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.columns - 5
    }
}
