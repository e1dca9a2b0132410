//! SSD-like networks with their decoding in the graph, such as UltraFace: probabilities `[B,A,C]` whose first class is
//! the background, and corner boxes `[B,A,4]` as shares of the input, from 0 to 1.

use super::decoded_scores::scores_and_boxes;
use super::output::{OutputShape, Values};
use super::{boxes_at, grid};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str = "scores [B,A,1+C] with the background first and boxes [B,A,4] from 0 to 1, A other than the cells of strides 8, 16, 32";

/// Which output is which.
#[derive(Debug, Clone)]
pub(super) struct Ssd {
    scores: usize,
    boxes: usize,
    columns: usize,
    input: Size,
}

/// The layout, where these outputs have one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<Ssd> {
    named(outputs, input).filter(|_| outputs[0].dimensions[1] != grid::count(input, grid::THREE_LEVELS))
}

/// As [`fit`], whatever the number of anchors.
pub(super) fn named(outputs: &[OutputShape], input: Size) -> Option<Ssd> {
    let (scores, boxes, [_, columns]) = scores_and_boxes(outputs)?;
    (columns >= 2).then_some(Ssd { scores, boxes, columns, input })
}

impl Ssd {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let (scores, boxes) = (outputs[self.scores].fractions(), outputs[self.boxes].fractions());
        let (width, height) = (self.input.width as f32, self.input.height as f32);
        for (anchor, scores) in scores.chunks_exact(self.columns).enumerate() {
            let objects = &scores[1..];
            if into.concern_any(objects) {
                let share = boxes_at(boxes, anchor);
                let bounds = BoundingBox::corners(
                    share.left * width,
                    share.top * height,
                    share.right * width,
                    share.bottom * height,
                );
                into.push_classes(bounds, 1.0, objects.iter().copied());
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.columns - 1
    }
}
