//! From finds in order of their scores to precision at given recalls.

/// Recalls at which precision is read: 0.00, 0.01, to 1.00.
pub(super) const RECALLS: usize = 101;

/// Precision over recall of one class at one overlap.
pub(super) struct Curve {
    /// Mean of the precision at the 101 recalls.
    pub precision: f64,
    /// Largest recall reached.
    pub recall: f64,
}

impl Curve {
    /// The curve of detections in falling order of score, each right or wrong, with `positives` objects to be found.
    pub fn new(right: impl Iterator<Item = bool>, positives: usize) -> Self {
        let (mut precision, mut recall) = (Vec::new(), Vec::new());
        let (mut hits, mut misses) = (0.0, 0.0);
        for right in right {
            if right {
                hits += 1.0;
            } else {
                misses += 1.0;
            }
            recall.push(hits / positives as f64);
            precision.push(hits / (misses + hits + f64::EPSILON));
        }
        for index in (1..precision.len()).rev() {
            precision[index - 1] = precision[index - 1].max(precision[index]);
        }
        let at = |wanted: f64| {
            let place = recall.partition_point(|&reached| reached < wanted);
            precision.get(place).copied().unwrap_or(0.0)
        };
        let total: f64 = (0..RECALLS).map(|step| at(wanted(step))).sum();
        Self { precision: total / RECALLS as f64, recall: recall.last().copied().unwrap_or(0.0) }
    }
}

/// The recall number `step`, computed as numpy's `linspace` does.
fn wanted(step: usize) -> f64 {
    if step + 1 == RECALLS { 1.0 } else { step as f64 * 0.01 }
}
