//! RT-DETR and its kin (D-FINE, DEIM): classes `[B,Q]`, corner boxes `[B,Q,4]` and scores `[B,Q]`.
//!
//! The network has a second input, the size that its boxes are to be scaled to. It is given the size of the network's own
//! input, so that boxes come in input pixels as every other decoder's do, and are brought back from there.

use super::output::{OutputShape, Values};
use super::{boxes_at, push_labelled};
use crate::detection::Candidates;

/// What the outputs must be, for people.
pub(super) const CONTRACT: &str = "three outputs: classes int [B,Q], boxes [B,Q,4], scores [B,Q]";

/// Which output is which.
#[derive(Debug, Clone)]
pub(super) struct RtDetr {
    classes: usize,
    boxes: usize,
    scores: usize,
}

/// The layout, where these outputs have one.
pub(super) fn fit(outputs: &[OutputShape]) -> Option<RtDetr> {
    if outputs.len() != 3 {
        return None;
    }
    let boxes = outputs.iter().position(|output| matches!(output.fraction_row::<2>(), Some([_, 4])))?;
    let [queries, _] = outputs[boxes].row()?;
    let classes = outputs.iter().position(|output| output.whole_row() == Some([queries]))?;
    let scores = outputs.iter().position(|output| output.fraction_row() == Some([queries]))?;
    Some(RtDetr { classes, boxes, scores })
}

impl RtDetr {
    pub(super) fn decode(&self, outputs: &[Values<'_>], into: &mut Candidates) {
        let boxes = outputs[self.boxes].fractions();
        for (at, &score) in outputs[self.scores].fractions().iter().enumerate() {
            push_labelled(into, boxes_at(boxes, at), score, outputs[self.classes].class(at));
        }
    }
}
