//! DAMO-YOLO with its decoding in the graph: scores `[B,A,C]` and corner boxes `[B,A,4]` in input pixels. YOLO-NAS and
//! others put out the same.
//!
//! The two are told apart by shape, because exporters leave one without a name that means anything.

use super::output::{OutputShape, Values};
use super::{boxes_at, grid};
use crate::detection::Candidates;
use crate::size::Size;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str = "scores [B,A,C] and boxes [B,A,4], one anchor per cell of strides 8, 16 and 32";

/// Which output is which.
#[derive(Debug, Clone)]
pub(super) struct DecodedScores {
    scores: usize,
    boxes: usize,
    classes: usize,
}

/// The layout, where these outputs have one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<DecodedScores> {
    let anchors = grid::count(input, grid::THREE_LEVELS);
    named(outputs).filter(|_| outputs[0].dimensions[1] == anchors)
}

/// As [`fit`], whatever the number of anchors.
pub(super) fn named(outputs: &[OutputShape]) -> Option<DecodedScores> {
    let (scores, boxes, [_, classes]) = scores_and_boxes(outputs)?;
    Some(DecodedScores { scores, boxes, classes })
}

/// The outputs `[A,C]` and `[A,4]` of one image: their numbers, and the shape of the scores. With four classes the name
/// decides, and without one that helps the order, scores first.
pub(super) fn scores_and_boxes(outputs: &[OutputShape]) -> Option<(usize, usize, [usize; 2])> {
    let [first, second] = outputs else { return None };
    let (a, b) = (first.fraction_row::<2>()?, second.fraction_row::<2>()?);
    if a[0] != b[0] {
        return None;
    }
    let boxes_first = second.is_called(&["score", "conf", "cls"]) || first.is_called(&["box"]);
    match (a[1], b[1]) {
        (4, 4) if boxes_first => Some((1, 0, b)),
        (_, 4) => Some((0, 1, a)),
        (4, _) => Some((1, 0, b)),
        _ => None,
    }
}

impl DecodedScores {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let (scores, boxes) = (outputs[self.scores].fractions(), outputs[self.boxes].fractions());
        for (anchor, scores) in scores.chunks_exact(self.classes).enumerate() {
            if into.concern_any(scores) {
                into.push_classes(boxes_at(boxes, anchor), 1.0, scores.iter().copied());
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
