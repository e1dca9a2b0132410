//! Networks that end in TensorRT's EfficientNMS or BatchedNMS plug-in: how many boxes there are `[B,1]`, corner boxes
//! `[B,N,4]` in input pixels, scores `[B,N]` and classes `[B,N]`.
//!
//! EfficientNMS gives classes as whole numbers. BatchedNMS gives them as fractions; then names tell them from scores, and
//! without names that help the order does.

use super::output::{Numbers, OutputShape, Values};
use super::{boxes_at, push_labelled};
use crate::detection::Candidates;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str = "four outputs: count int [B,1], boxes [B,N,4], scores [B,N], classes [B,N]";

/// Which output is which.
#[derive(Debug, Clone)]
pub(super) struct EfficientNms {
    count: usize,
    boxes: usize,
    scores: usize,
    classes: usize,
}

/// The layout, where these outputs have one.
pub(super) fn fit(outputs: &[OutputShape]) -> Option<EfficientNms> {
    if outputs.len() != 4 {
        return None;
    }
    let boxes = outputs.iter().position(|output| matches!(output.fraction_row::<2>(), Some([_, 4])))?;
    let [slots, _] = outputs[boxes].row()?;
    let is_count = |output: &OutputShape| {
        output.numbers == Numbers::Whole && output.dimensions.len() <= 2 && output.row_length() == 1
    };
    let count = outputs.iter().position(is_count)?;
    let mut rest = (0..4).filter(|index| ![boxes, count].contains(index));
    let (first, second) = (rest.next()?, rest.next()?);
    if [first, second].iter().any(|&index| outputs[index].row() != Some([slots])) {
        return None;
    }
    let swapped = match (outputs[first].numbers, outputs[second].numbers) {
        (Numbers::Fractions, Numbers::Whole) => false,
        (Numbers::Whole, Numbers::Fractions) => true,
        (Numbers::Fractions, Numbers::Fractions) => {
            outputs[first].is_called(&["class", "label"]) || outputs[second].is_called(&["score", "conf"])
        }
        (Numbers::Whole, Numbers::Whole) => return None,
    };
    let (scores, classes) = if swapped { (second, first) } else { (first, second) };
    Some(EfficientNms { count, boxes, scores, classes })
}

impl EfficientNms {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let (boxes, scores) = (outputs[self.boxes].fractions(), outputs[self.scores].fractions());
        let count = outputs[self.count].whole(0).unwrap_or(0) as usize;
        for (at, &score) in scores.iter().enumerate().take(count) {
            // Slots that BatchedNMS does not use have the class -1.
            push_labelled(into, boxes_at(boxes, at), score, outputs[self.classes].class(at));
        }
    }
}
