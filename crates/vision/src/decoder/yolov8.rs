//! YOLOv8, v9, 11 and 12: `[B,4+C,A]`, channels first, with centre and size in input pixels and class probabilities; there
//! is no objectness. Some exporters turn it round to `[B,A,4+C]`, which has the shape of YOLOX and so must be named.

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
    /// Whether an anchor's numbers lie beside each other.
    is_by_anchor: bool,
}

/// The layout, where this output has one.
pub(super) fn fit(outputs: &[OutputShape], input: Size) -> Option<YoloV8> {
    layout(outputs, false).filter(|layout| layout.fits(input))
}

/// As [`fit`], whatever the number of anchors, and turned round where that and nothing else fits the input.
pub(super) fn named(outputs: &[OutputShape], input: Size) -> Option<YoloV8> {
    let turned = || layout(outputs, true).filter(|layout| layout.fits(input));
    fit(outputs, input).or_else(turned).or_else(|| layout(outputs, false))
}

fn layout(outputs: &[OutputShape], is_by_anchor: bool) -> Option<YoloV8> {
    let [output] = outputs else { return None };
    let [first, second] = output.fraction_row::<2>()?;
    let (channels, anchors) = if is_by_anchor { (second, first) } else { (first, second) };
    (channels > 4).then(|| YoloV8 { anchors, classes: channels - 4, is_by_anchor })
}

impl YoloV8 {
    fn fits(&self, input: Size) -> bool {
        [grid::THREE_LEVELS, grid::FOUR_LEVELS].iter().any(|strides| grid::count(input, strides) == self.anchors)
    }

    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let values = outputs[0].fractions();
        if self.is_by_anchor {
            for row in values.chunks_exact(4 + self.classes) {
                if into.concern_any(&row[4..]) {
                    into.push_classes(
                        BoundingBox::centred(row[0], row[1], row[2], row[3]),
                        1.0,
                        row[4..].iter().copied(),
                    );
                }
            }
            return;
        }
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
