//! YOLOX as it is exported by default: `[B,A,5+C]` with centre and logarithm of the size relative to the cell, objectness,
//! and classes, both of these probabilities. An export with `--decode_in_inference` has the contract of YOLOv5.

use super::grid;
use super::output::{OutputShape, Values};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str =
    "one output [B,A,5+C], one anchor per cell of strides 8, 16 and 32, boxes not decoded (decoded ones: yolov5)";

/// The cells, and how wide a row is.
#[derive(Debug, Clone)]
pub(super) struct Yolox {
    cells: Vec<grid::Cell>,
    columns: usize,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<Yolox> {
    let [output] = outputs else { return None };
    let [anchors, columns] = output.fraction_row::<2>()?;
    let fits = columns > 5 && anchors == grid::count(input, grid::THREE_LEVELS);
    fits.then(|| Yolox { cells: grid::cells(input, grid::THREE_LEVELS), columns })
}

impl Yolox {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        for (row, cell) in outputs[0].fractions().chunks_exact(self.columns).zip(&self.cells) {
            if !into.concerns(row[4]) {
                continue;
            }
            let (width, height) = (row[2].exp() * cell.stride, row[3].exp() * cell.stride);
            let (x, y) = ((row[0] + cell.column) * cell.stride, (row[1] + cell.row) * cell.stride);
            into.push_classes(BoundingBox::centred(x, y, width, height), row[4], row[5..].iter().copied());
        }
    }

    pub(super) fn classes(&self) -> usize {
        self.columns - 5
    }
}
