//! RT-DETR as ultralytics exports it: `[B,300,4+C]`, for each query centre and size as shares of the input, from 0 to 1, and
//! class probabilities. A query is one object, of the class that is surest; nothing is found twice.

use super::output::{OutputShape, Values};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str =
    "one output [B,300,4+C] of centre and size from 0 to 1 and class probabilities, C other than 2 unless named";

/// Queries of every RT-DETR there is.
const QUERIES: usize = 300;
/// Columns of [`super::end_to_end`], which are far more often final boxes than two classes.
const FINAL_BOXES: usize = 6;

/// Numbers of a query.
#[derive(Debug, Clone)]
pub(super) struct RtDetrJoined {
    columns: usize,
    input: Size,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<RtDetrJoined> {
    named(outputs, input).filter(|layout| outputs[0].dimensions[1] == QUERIES && layout.columns != FINAL_BOXES)
}

/// As [`fit`], whatever the number of queries.
pub(super) fn named(outputs: &[OutputShape], input: Size) -> Option<RtDetrJoined> {
    let [output] = outputs else { return None };
    let [_, columns] = output.fraction_row::<2>()?;
    (columns > 4).then_some(RtDetrJoined { columns, input })
}

impl RtDetrJoined {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let (width, height) = (self.input.width as f32, self.input.height as f32);
        for query in outputs[0].fractions().chunks_exact(self.columns) {
            let (place, scores) = query.split_at(4);
            // A score that is no number is above all others, and so is counted.
            let surest = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            if let Some((class, &score)) = surest.filter(|(_, score)| into.concerns(**score)) {
                let [x, y, w, h] = [place[0] * width, place[1] * height, place[2] * width, place[3] * height];
                into.push(BoundingBox::centred(x, y, w, h), score, class as u32);
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.columns - 4
    }
}
