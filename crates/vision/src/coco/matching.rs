//! Which detection of one class in one photograph finds which object, by COCO's rules.

use super::annotations::Truth;
use super::evaluation::Found;

/// Overlaps at which a detection counts as a find: 0.50, 0.55, to 0.95.
pub(super) const OVERLAPS: usize = 10;

/// The overlap number `index`, computed as numpy's `linspace` does.
pub(super) fn overlap(index: usize) -> f64 {
    if index + 1 == OVERLAPS { 0.95 } else { 0.5 + index as f64 * ((0.95 - 0.5) / 9.0) }
}

/// Detections and objects of one class in one photograph.
pub(super) struct Pair<'a> {
    /// At most the hundred best, best first.
    pub found: Vec<&'a Found>,
    /// In the file's order.
    pub truths: Vec<&'a Truth>,
    /// Overlap of each detection with each object, a row per detection.
    overlaps: Vec<f64>,
}

/// What becomes of the detections of a [`Pair`] when only objects of some sizes count.
pub(super) struct Matches {
    /// For each overlap and detection: whether it found an object.
    pub found: Vec<Vec<bool>>,
    /// For each overlap and detection: whether it counts neither as right nor as wrong.
    pub ignored: Vec<Vec<bool>>,
    /// Objects that count.
    pub positives: usize,
}

impl<'a> Pair<'a> {
    /// Sorts detections, cuts them at `most`, and measures overlaps.
    pub fn new(mut found: Vec<&'a Found>, truths: Vec<&'a Truth>, most: usize) -> Self {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(most);
        let one = |found: &&Found| {
            let bounds = found.bounds;
            truths.iter().map(move |truth| shared(&bounds, &truth.bounds, truth.crowd)).collect::<Vec<f64>>()
        };
        let overlaps = found.iter().flat_map(one).collect();
        Self { found, truths, overlaps }
    }

    /// Matches greedily, the best detection first, when objects with an area inside `area` count.
    pub fn matches(&self, area: [f64; 2]) -> Matches {
        let outside = |size: f64| size < area[0] || size > area[1];
        let ignore: Vec<bool> = self.truths.iter().map(|truth| truth.crowd || outside(truth.area)).collect();
        let mut order: Vec<usize> = (0..self.truths.len()).collect();
        order.sort_by_key(|&index| ignore[index]);
        let mut matches = Matches {
            found: Vec::with_capacity(OVERLAPS),
            ignored: Vec::with_capacity(OVERLAPS),
            positives: ignore.iter().filter(|ignored| !**ignored).count(),
        };
        for index in 0..OVERLAPS {
            let (found, ignored) = self.at(overlap(index), &order, &ignore, outside);
            matches.found.push(found);
            matches.ignored.push(ignored);
        }
        matches
    }

    fn at(
        &self,
        overlap: f64,
        order: &[usize],
        ignore: &[bool],
        outside: impl Fn(f64) -> bool,
    ) -> (Vec<bool>, Vec<bool>) {
        let mut taken = vec![false; self.truths.len()];
        let mut answer = (Vec::with_capacity(self.found.len()), Vec::with_capacity(self.found.len()));
        for (row, found) in self.found.iter().enumerate() {
            let chosen = self.best(row, overlap, order, ignore, &taken);
            if let Some(truth) = chosen {
                taken[truth] = true;
            }
            let ignored = chosen.map_or_else(|| outside(found.area()), |truth| ignore[truth]);
            answer.0.push(chosen.is_some());
            answer.1.push(ignored);
        }
        answer
    }

    /// The free object that detection `row` overlaps most; one that counts goes before one that does not.
    fn best(&self, row: usize, overlap: f64, order: &[usize], ignore: &[bool], taken: &[bool]) -> Option<usize> {
        let mut most = overlap.min(1.0 - 1e-10);
        let mut chosen: Option<usize> = None;
        for &truth in order {
            if taken[truth] && !self.truths[truth].crowd {
                continue;
            }
            if chosen.is_some_and(|chosen| !ignore[chosen] && ignore[truth]) {
                break;
            }
            let here = self.overlaps[row * self.truths.len() + truth];
            if here >= most {
                most = here;
                chosen = Some(truth);
            }
        }
        chosen
    }
}

/// Intersection over union of two boxes by corner and sides; over the detection alone where the object is a crowd.
fn shared(found: &[f64; 4], truth: &[f64; 4], crowd: bool) -> f64 {
    let side = |axis: usize| {
        let end = (found[axis] + found[axis + 2]).min(truth[axis] + truth[axis + 2]);
        end - found[axis].max(truth[axis])
    };
    let (width, height) = (side(0), side(1));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let (intersection, area) = (width * height, found[2] * found[3]);
    let union = if crowd { area } else { area + truth[2] * truth[3] - intersection };
    intersection / union
}
