//! NanoDet: `[B,A,C+32]` of class probabilities and distance distributions of 8 bins.
//!
//! NanoDet-Plus has the strides 8, 16, 32 and 64 and counts from the cells' corners; NanoDet before it has the first three
//! and counts from their centres.

use super::output::{OutputShape, Values};
use super::{distribution, grid};
use crate::detection::Candidates;
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str =
    "one output [B,A,C+32], one anchor per cell of strides 8, 16, 32 and 64 (NanoDet before Plus, without 64: name it)";

const BINS: usize = 8;

/// The cells, and where in them distances begin.
#[derive(Debug, Clone)]
pub(super) struct NanoDet {
    cells: Vec<grid::Cell>,
    offset: f32,
    classes: usize,
}

/// The layout, where this output has one. With three levels its shape is YOLOX' as well, and is left to that.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<NanoDet> {
    with_levels(outputs, input, grid::FOUR_LEVELS, 0.0)
}

/// As [`fit`], with three levels too.
pub(super) fn named(outputs: &[OutputShape], input: Size) -> Option<NanoDet> {
    fit(outputs, input).or_else(|| with_levels(outputs, input, grid::THREE_LEVELS, 0.5))
}

fn with_levels(outputs: &[OutputShape], input: Size, strides: &[u32], offset: f32) -> Option<NanoDet> {
    let [output] = outputs else { return None };
    let [anchors, columns] = output.fraction_row::<2>()?;
    let fits = columns > 4 * BINS && anchors == grid::count(input, strides);
    fits.then(|| NanoDet { cells: grid::cells(input, strides), offset, classes: columns - 4 * BINS })
}

impl NanoDet {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let columns = self.classes + 4 * BINS;
        for (row, cell) in outputs[0].fractions().chunks_exact(columns).zip(&self.cells) {
            let (scores, distances) = row.split_at(self.classes);
            if into.concern_any(scores) {
                let bounds = cell.around(distribution::four(distances, BINS, 1), self.offset);
                into.push_classes(bounds, 1.0, scores.iter().copied());
            }
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
