//! Greedy suppression within a class: of boxes that overlap too much, the one that scores most stays.
//!
//! The result is that of the plain definition: by falling score, a box stays where it overlaps no box of its class that
//! stayed by more than the limit. Boxes of equal score keep the order they came in. Boxes are looked at in portions by
//! falling score, so that a limit on their number ends the work early, and are compared only with those of their class.

use super::candidates::Candidates;

/// Boxes that one class keeps, a column per side for the processor's vector units.
#[derive(Debug, Clone, Default)]
struct Kept {
    left: Vec<f32>,
    top: Vec<f32>,
    right: Vec<f32>,
    bottom: Vec<f32>,
    area: Vec<f32>,
}

/// Memory that suppression needs, kept from image to image.
#[derive(Debug, Clone, Default)]
pub struct Suppressor {
    keys: Vec<u64>,
    kept: Vec<Kept>,
}

/// Boxes ordered at a time.
const PORTION: usize = 2048;
/// Comparisons between two looks at whether one was enough.
const LANES: usize = 8;

impl Suppressor {
    /// Gives `take` the numbers of the boxes that stay among the `candidates_limit` best, best first, until it wants no more.
    /// Without `overlap`, the intersection over union above which the weaker goes, all stay.
    pub fn suppress(
        &mut self,
        boxes: &Candidates,
        overlap: Option<f32>,
        candidates_limit: usize,
        mut take: impl FnMut(usize) -> bool,
    ) {
        self.keys.clear();
        self.keys.extend(boxes.scores.iter().enumerate().map(|(index, &score)| key(score, index)));
        if overlap.is_some() {
            self.reset(boxes);
        }
        let limit = candidates_limit.min(self.keys.len());
        let mut ordered = 0;
        while ordered < limit {
            let portion = PORTION.min(limit - ordered);
            order_front(&mut self.keys[ordered..], portion);
            for &key in &self.keys[ordered..ordered + portion] {
                let index = (key as u32) as usize;
                let kept = |overlap| self.kept[boxes.classes[index] as usize].admits(boxes, index, overlap);
                if overlap.is_none_or(kept) && !take(index) {
                    return;
                }
            }
            ordered += portion;
        }
    }

    fn reset(&mut self, boxes: &Candidates) {
        let classes = boxes.classes.iter().max().map_or(0, |&class| class as usize + 1);
        self.kept.iter_mut().for_each(Kept::clear);
        if self.kept.len() < classes {
            self.kept.resize_with(classes, Kept::default);
        }
    }
}

/// A key that orders boxes by falling score, then by number. Scores are positive, so their bits are ordered as they are.
fn key(score: f32, index: usize) -> u64 {
    u64::from(!score.to_bits()) << 32 | index as u64
}

/// Brings the `count` least keys to the front, in order.
fn order_front(keys: &mut [u64], count: usize) {
    if count > 0 && count < keys.len() {
        keys.select_nth_unstable(count - 1);
    }
    keys[..count].sort_unstable();
}

impl Kept {
    fn clear(&mut self) {
        for column in [&mut self.left, &mut self.top, &mut self.right, &mut self.bottom, &mut self.area] {
            column.clear();
        }
    }

    /// Takes the box in where none that is here overlaps it too much.
    fn admits(&mut self, boxes: &Candidates, index: usize, overlap: f32) -> bool {
        let bounds = boxes.bounds[index];
        let area = bounds.area();
        let sides = [&self.left, &self.top, &self.right, &self.bottom, &self.area].map(|side| side.chunks(LANES));
        let [left, top, right, bottom, areas] = sides;
        for ((((left, top), right), bottom), areas) in left.zip(top).zip(right).zip(bottom).zip(areas) {
            let mut covered = false;
            for lane in 0..left.len() {
                let width = (right[lane].min(bounds.right) - left[lane].max(bounds.left)).max(0.0);
                let height = (bottom[lane].min(bounds.bottom) - top[lane].max(bounds.top)).max(0.0);
                let shared = width * height;
                covered |= shared > overlap * (areas[lane] + area - shared);
            }
            if covered {
                return false;
            }
        }
        self.left.push(bounds.left);
        self.top.push(bounds.top);
        self.right.push(bounds.right);
        self.bottom.push(bounds.bottom);
        self.area.push(area);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;
    use proptest::prelude::*;

    /// The definition, as slow as it reads.
    fn reference(boxes: &Candidates, overlap: f32, max: usize) -> Vec<u32> {
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by(|&a, &b| boxes.scores[b].total_cmp(&boxes.scores[a]).then(a.cmp(&b)));
        let mut kept: Vec<usize> = Vec::new();
        for index in order {
            let covers = |&other: &usize| {
                let (a, b) = (boxes.bounds[index], boxes.bounds[other]);
                let width = (a.right.min(b.right) - a.left.max(b.left)).max(0.0);
                let height = (a.bottom.min(b.bottom) - a.top.max(b.top)).max(0.0);
                boxes.classes[index] == boxes.classes[other]
                    && width * height > overlap * (b.area() + a.area() - width * height)
            };
            if !kept.iter().any(covers) && kept.len() < max {
                kept.push(index);
            }
        }
        kept.into_iter().map(|index| index as u32).collect()
    }

    /// The first `max` that stay.
    fn kept(
        boxes: &Candidates,
        overlap: Option<f32>,
        max: usize,
        limit: usize,
        suppressor: &mut Suppressor,
    ) -> Vec<u32> {
        let mut kept = Vec::new();
        suppressor.suppress(boxes, overlap, limit, |index| {
            if kept.len() < max {
                kept.push(index as u32);
            }
            kept.len() < max
        });
        kept
    }

    fn candidates(boxes: &[(f32, f32, f32, f32, f32, u32)]) -> Candidates {
        let mut all = Candidates::new(0.0);
        for &(left, top, width, height, score, class) in boxes {
            all.push(BoundingBox::corners(left, top, left + width, top + height), score, class);
        }
        all
    }

    fn a_box() -> impl Strategy<Value = (f32, f32, f32, f32, f32, u32)> {
        let scores = prop_oneof![0.001f32..1.0, Just(0.5f32)];
        (0.0f32..50.0, 0.0f32..50.0, 1.0f32..40.0, 1.0f32..40.0, scores, 0u32..3)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            boxes in proptest::collection::vec(a_box(), 0..120), overlap in 0.0f32..1.0, max in 0usize..60,
        ) {
            let boxes = candidates(&boxes);
            let mut suppressor = Suppressor::default();
            for _ in 0..2 {
                let kept = kept(&boxes, Some(overlap), max, usize::MAX, &mut suppressor);
                prop_assert_eq!(kept, reference(&boxes, overlap, max));
            }
        }
    }

    #[test]
    fn classes_do_not_suppress_each_other() {
        let boxes =
            candidates(&[(0.0, 0.0, 9.0, 9.0, 0.6, 0), (0.0, 0.0, 9.0, 9.0, 0.9, 1), (1.0, 0.0, 9.0, 9.0, 0.8, 1)]);
        let kept = |overlap, max, limit| kept(&boxes, overlap, max, limit, &mut Suppressor::default());
        assert_eq!(kept(Some(0.5), 9, 9), [1, 0]);
        assert_eq!(kept(None, 9, 9), [1, 2, 0]);
        assert_eq!(kept(Some(0.5), 1, 9), [1]);
        assert_eq!(kept(None, 9, 2), [1, 2]);
        assert!(super::tests::kept(&Candidates::new(0.1), Some(0.5), 9, 9, &mut Suppressor::default()).is_empty());
    }

    #[test]
    fn more_boxes_than_a_portion_come_out_in_order() {
        let many: Vec<_> =
            (0..5000).map(|at| (at as f32 * 20.0, 0.0, 9.0, 9.0, (at * 7919 % 5000 + 1) as f32 / 5001.0, 0)).collect();
        let boxes = candidates(&many);
        let kept = kept(&boxes, Some(0.5), usize::MAX, usize::MAX, &mut Suppressor::default());
        assert_eq!(kept.len(), 5000);
        assert!(kept.windows(2).all(|pair| boxes.scores[pair[0] as usize] > boxes.scores[pair[1] as usize]));
    }
}
