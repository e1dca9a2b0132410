//! From candidates in the network's input to detections in the photograph.

use super::{BoundingBox, Candidates, Detection, Rejected, Suppressor};
use crate::placement::Placement;
use crate::size::Size;

/// Which candidates become detections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// Least score, from 0 to 1.
    pub score: f32,
    /// Intersection over union above which the weaker of two boxes of a class goes; without, all boxes stay.
    pub iou: Option<f32>,
    /// Most detections in an image.
    pub max: usize,
    /// Most candidates that are looked at, the best first. It bounds the time that a network takes which finds
    /// something everywhere.
    pub candidates: usize,
}

impl Selection {
    /// Most candidates looked at where nobody says otherwise, as many as ultralytics' own suppression takes.
    pub const CANDIDATES: usize = 30_000;
}

impl Default for Selection {
    /// What suits a picture for people: sure boxes, each object once.
    fn default() -> Self {
        Self { score: 0.25, iou: Some(0.65), max: 300, candidates: Self::CANDIDATES }
    }
}

impl Selection {
    /// The detections among `candidates` in the photograph of size `image` that was put into the network's input at
    /// `placement`, best first, and what was left out. Boxes are suppressed before they are cut at the photograph's edges.
    pub fn select(
        &self,
        candidates: &Candidates,
        suppressor: &mut Suppressor,
        placement: &Placement,
        image: Size,
    ) -> (Vec<Detection>, Rejected) {
        let mut rejected = candidates.rejected();
        let mut detections = Vec::new();
        if self.max == 0 {
            return (detections, rejected);
        }
        suppressor.suppress(candidates, self.iou, self.candidates, |index| {
            let bounds = in_photograph(&candidates.bounds[index], placement, image);
            if bounds.is_empty() {
                rejected.outside += 1;
            } else {
                let (score, class) = (candidates.scores[index], candidates.classes[index]);
                detections.push(Detection { bounds, score, class });
            }
            detections.len() < self.max
        });
        (detections, rejected)
    }
}

/// A box of the input as pixels of the photograph, cut at its edges.
fn in_photograph(bounds: &BoundingBox, placement: &Placement, image: Size) -> BoundingBox {
    let (left, top) = placement.to_image(bounds.left, bounds.top);
    let (right, bottom) = placement.to_image(bounds.right, bounds.bottom);
    BoundingBox::corners(left, top, right, bottom).clipped(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Fit;
    use proptest::prelude::*;

    fn fits() -> impl Strategy<Value = Fit> {
        prop_oneof![Just(Fit::Stretch), Just(Fit::Letterbox), Just(Fit::LetterboxTopLeft)]
    }

    fn sizes(largest: u32) -> impl Strategy<Value = Size> {
        (1..=largest, 1..=largest).prop_map(|(width, height)| Size { width, height })
    }

    proptest! {
        #[test]
        fn boxes_come_back_to_where_they_were(
            fit in fits(), image in sizes(4000), input in sizes(1000), at in proptest::array::uniform4(0.0f32..1.0),
        ) {
            let placement = Placement::new(fit, image, input);
            let (width, height) = (image.width as f32, image.height as f32);
            let (left, right) = (at[0].min(at[1]) * width, at[0].max(at[1]) * width);
            let (top, bottom) = (at[2].min(at[3]) * height, at[2].max(at[3]) * height);
            let across = |x: f32| x * placement.scale_x + placement.left as f32;
            let down = |y: f32| y * placement.scale_y + placement.top as f32;
            let placed = BoundingBox::corners(across(left), down(top), across(right), down(bottom));
            let back = in_photograph(&placed, &placement, image);
            // What is lost is the rounding of a coordinate in the input, seen at the photograph's scale.
            let allowed = |scale: f32| 1000.0 * f32::EPSILON * 4.0 / scale + 1e-3;
            prop_assert!((back.left - left).abs() <= allowed(placement.scale_x), "{back:?} for left {left}");
            prop_assert!((back.right - right).abs() <= allowed(placement.scale_x), "{back:?} for right {right}");
            prop_assert!((back.top - top).abs() <= allowed(placement.scale_y), "{back:?} for top {top}");
            prop_assert!((back.bottom - bottom).abs() <= allowed(placement.scale_y), "{back:?} for bottom {bottom}");
        }

        #[test]
        fn nothing_leaves_the_photograph(
            fit in fits(), image in sizes(300), input in sizes(300), sides in proptest::array::uniform4(-400.0f32..800.0),
        ) {
            let placement = Placement::new(fit, image, input);
            let mut candidates = Candidates::new(0.1);
            candidates.push(BoundingBox::corners(sides[0], sides[1], sides[2], sides[3]), 0.5, 0);
            let selection = Selection::default();
            let (found, rejected) = selection.select(&candidates, &mut Suppressor::default(), &placement, image);
            prop_assert_eq!(found.len() as u64 + rejected.total(), 1);
            for detection in found {
                let bounds = detection.bounds;
                prop_assert!(bounds.left >= 0.0 && bounds.right <= image.width as f32 && bounds.left < bounds.right);
                prop_assert!(bounds.top >= 0.0 && bounds.bottom <= image.height as f32 && bounds.top < bounds.bottom);
            }
        }
    }

    #[test]
    fn what_lies_in_the_padding_is_outside() {
        let image = Size { width: 200, height: 100 };
        let placement = Placement::new(Fit::Letterbox, image, Size { width: 640, height: 640 });
        let mut candidates = Candidates::new(0.1);
        candidates.push(BoundingBox::corners(10.0, 10.0, 100.0, 150.0), 0.9, 0);
        candidates.push(BoundingBox::corners(0.0, 160.0, 320.0, 320.0), 0.8, 1);
        let (found, rejected) = Selection::default().select(&candidates, &mut Suppressor::default(), &placement, image);
        let expected = Detection { bounds: BoundingBox::corners(0.0, 0.0, 100.0, 50.0), score: 0.8, class: 1 };
        assert_eq!((found, rejected.outside), (vec![expected], 1));
        for iou in [None, Some(0.5)] {
            let one = Selection { max: 1, iou, ..Selection::default() };
            let (found, _) = one.select(&candidates, &mut Suppressor::default(), &placement, image);
            assert_eq!(found, [expected], "a box outside takes nobody's place");
        }
    }
}
