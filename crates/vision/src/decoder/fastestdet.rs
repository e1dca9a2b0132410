//! FastestDet: one map `[B,5+C,h,w]` of objectness, centre (tanh, in cells), size (sigmoid, as a share of the map) and
//! class probabilities. A cell has one class, its best; the score is `objectness^0.6 * class^0.4`.

use super::output::{OutputShape, Values};
use crate::detection::{BoundingBox, Candidates};
use crate::size::Size;

/// What the output must be, for people.
pub(super) const CONTRACT: &str = "one map [B,5+C,h,w], one box per cell of stride 8, 16 or 32";

/// The map.
#[derive(Debug, Clone)]
pub(super) struct FastestDet {
    rows: usize,
    columns: usize,
    classes: usize,
    input: Size,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<FastestDet> {
    let [output] = outputs else { return None };
    let [channels, rows, columns] = output.fraction_row::<3>()?;
    let fits = [8, 16, 32].into_iter().any(|stride| super::grid::level(input, stride) == (columns, rows));
    (channels > 5 && fits).then(|| FastestDet { rows, columns, classes: channels - 5, input })
}

/// Rounding may leave a probability just below 0; what is no number stays one.
fn not_negative(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

impl FastestDet {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let values = outputs[0].fractions();
        let cells = self.rows * self.columns;
        let (best, classes) = self.best_classes(&values[5 * cells..], cells);
        for at in 0..cells {
            let score = not_negative(values[at]).powf(0.6) * not_negative(best[at]).powf(0.4);
            if into.concerns(score) {
                into.push(self.bounds(values, at, cells), score, classes[at]);
            }
        }
    }

    /// The largest class probability of each cell, and the class. The first of equal ones is taken.
    fn best_classes(&self, scores: &[f32], cells: usize) -> (Vec<f32>, Vec<u32>) {
        let (mut best, mut classes) = (vec![f32::NEG_INFINITY; cells], vec![0; cells]);
        for (class, scores) in scores.chunks_exact(cells).enumerate() {
            for ((best, chosen), &score) in best.iter_mut().zip(&mut classes).zip(scores) {
                if score > *best || score.is_nan() {
                    (*best, *chosen) = (score, class as u32);
                }
            }
        }
        (best, classes)
    }

    fn bounds(&self, values: &[f32], at: usize, cells: usize) -> BoundingBox {
        let number = |channel: usize| values[channel * cells + at];
        let sigmoid = |value: f32| 1.0 / (1.0 + (-value).exp());
        let (row, column) = (at / self.columns, at % self.columns);
        let x = (column as f32 + number(1).tanh()) / self.columns as f32;
        let y = (row as f32 + number(2).tanh()) / self.rows as f32;
        let (width, height) = (self.input.width as f32, self.input.height as f32);
        BoundingBox::centred(x * width, y * height, sigmoid(number(3)) * width, sigmoid(number(4)) * height)
    }

    pub(super) fn classes(&self) -> usize {
        self.classes
    }
}
