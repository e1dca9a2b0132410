//! Networks whose own last step leaves only final boxes: `[B,N,6]` with corners in input pixels, score and class. YOLOv10 and
//! YOLO26 put out that, and any ultralytics export with `nms=True`. Rows that are not used are zero,
//! or have the class -1.

use super::output::{Numbers, OutputShape, Values};
use super::{boxes_at_stride, push_labelled};
use crate::detection::Candidates;

/// What the output must be, for people.
pub(super) const CONTRACT: &str = "one output [B,N,6] of corners, score and class, N at most 1000";

/// Most boxes that a network gives as its last word; more are anchors.
const MOST_BOXES: usize = 1000;
const COLUMNS: usize = 6;

/// A marker: the contract leaves nothing open.
#[derive(Debug, Clone)]
pub(super) struct EndToEnd;

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape]) -> Option<EndToEnd> {
    named(outputs).filter(|_| outputs[0].dimensions[1] <= MOST_BOXES)
}

/// As [`fit`], whatever the number of boxes.
pub(super) fn named(outputs: &[OutputShape]) -> Option<EndToEnd> {
    let [output] = outputs else { return None };
    // A network that gives as many rows as it found boxes may begin with none.
    let is_list = matches!(output.dimensions[..], [_, _, COLUMNS]);
    (is_list && output.numbers == Numbers::Fractions).then_some(EndToEnd)
}

impl EndToEnd {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let values = outputs[0].fractions();
        for (at, row) in values.chunks_exact(COLUMNS).enumerate() {
            push_labelled(into, boxes_at_stride(values, at, COLUMNS), row[4], Values::F32(row).class(5));
        }
    }
}
