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
    channels_first(outputs).filter(|layout| is_grid(layout.anchors, input))
}

/// As [`fit`], whatever the number of anchors, and turned round where that and nothing else fits the input.
pub(super) fn named(outputs: &[OutputShape], input: Size) -> Option<YoloV8> {
    fit(outputs, input)
        .or_else(|| by_anchor(outputs).filter(|layout| is_grid(layout.anchors, input)))
        .or_else(|| channels_first(outputs))
}

fn is_grid(anchors: usize, input: Size) -> bool {
    [grid::THREE_LEVELS, grid::FOUR_LEVELS].into_iter().any(|strides| grid::count(input, strides) == anchors)
}

fn channels_first(outputs: &[OutputShape]) -> Option<YoloV8> {
    let [output] = outputs else { return None };
    let [channels, anchors] = output.fraction_row::<2>()?;
    (channels > 4).then(|| YoloV8 { anchors, classes: channels - 4, is_by_anchor: false })
}

fn by_anchor(outputs: &[OutputShape]) -> Option<YoloV8> {
    let [output] = outputs else { return None };
    let [anchors, channels] = output.fraction_row::<2>()?;
    (channels > 4).then(|| YoloV8 { anchors, classes: channels - 4, is_by_anchor: true })
}

impl YoloV8 {
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
