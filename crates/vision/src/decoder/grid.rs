//! The cells that detectors predict from: one per square of `stride` input pixels, level by level, row by row.

use crate::detection::BoundingBox;
use crate::size::Size;

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    /// Column, counted in cells.
    pub column: f32,
    /// Row, counted in cells.
    pub row: f32,
    /// Input pixels per cell.
    pub stride: f32,
}

/// Strides of most detectors.
pub(super) const THREE_LEVELS: &[u32] = &[8, 16, 32];
/// Strides of detectors with one level more.
pub(super) const FOUR_LEVELS: &[u32] = &[8, 16, 32, 64];
/// Strides of the smallest detectors.
pub(super) const TWO_LEVELS: &[u32] = &[16, 32];

/// Columns and rows of cells of `stride` pixels over an input.
pub(super) fn level(input: Size, stride: u32) -> (usize, usize) {
    (input.width.div_ceil(stride) as usize, input.height.div_ceil(stride) as usize)
}

/// Cells of all levels together.
pub(super) fn count(input: Size, strides: &[u32]) -> usize {
    strides.iter().map(|&stride| level(input, stride)).map(|(columns, rows)| columns * rows).sum()
}

/// The cells of the levels, one behind the other, each row by row.
pub(super) fn cells(input: Size, strides: &[u32]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(count(input, strides));
    for &stride in strides {
        let (columns, rows) = level(input, stride);
        cells.extend((0..columns * rows).map(|at| Cell {
            column: (at % columns) as f32,
            row: (at / columns) as f32,
            stride: stride as f32,
        }));
    }
    cells
}

impl Cell {
    /// A box from distances to its four sides (left, top, right, bottom), counted in cells, from the cell's corner or, with
    /// `offset` 0.5, from its centre.
    pub fn around(&self, distances: [f32; 4], offset: f32) -> BoundingBox {
        let (x, y) = (self.column + offset, self.row + offset);
        let [left, top, right, bottom] = distances;
        let stride = self.stride;
        BoundingBox::corners((x - left) * stride, (y - top) * stride, (x + right) * stride, (y + bottom) * stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other_row_by_row() {
        let input = Size { width: 32, height: 16 };
        assert_eq!(count(input, THREE_LEVELS), 8 + 2 + 1);
        let cells = cells(input, THREE_LEVELS);
        assert_eq!(cells[5], Cell { column: 1.0, row: 1.0, stride: 8.0 });
        assert_eq!(cells[9], Cell { column: 1.0, row: 0.0, stride: 16.0 });
        assert_eq!(cells[10], Cell { column: 0.0, row: 0.0, stride: 32.0 });
        assert_eq!(count(Size { width: 640, height: 640 }, THREE_LEVELS), 8400);
        assert_eq!(count(Size { width: 416, height: 416 }, FOUR_LEVELS), 3598);
    }

    #[test]
    fn distances_go_out_from_the_corner_or_the_centre() {
        let cell = Cell { column: 2.0, row: 3.0, stride: 8.0 };
        assert_eq!(cell.around([1.0, 2.0, 0.5, 0.0], 0.0), BoundingBox::corners(8.0, 8.0, 20.0, 24.0));
        assert_eq!(cell.around([1.0, 2.0, 0.5, 0.0], 0.5), BoundingBox::corners(12.0, 12.0, 24.0, 28.0));
    }
}
