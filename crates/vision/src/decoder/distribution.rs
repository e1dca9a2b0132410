//! Distances told as a distribution over whole cells (Generalized Focal Loss, Li et al. 2020): the distance is the mean of
//! the bins 0, 1, 2, ... under the softmax of the logits.

/// The mean of `bins` logits, each `step` numbers behind the last.
pub(super) fn expected(logits: &[f32], bins: usize, step: usize) -> f32 {
    let logits = || logits.iter().step_by(step).take(bins).copied();
    let largest = logits().fold(f32::NEG_INFINITY, f32::max);
    let (mut total, mut weighted) = (0.0, 0.0);
    for (bin, logit) in logits().enumerate() {
        let share = (logit - largest).exp();
        total += share;
        weighted += share * bin as f32;
    }
    weighted / total
}

/// Distances to the left, upper, right and lower side, whose logits follow each other, `bins` each and `step` apart.
pub(super) fn four(logits: &[f32], bins: usize, step: usize) -> [f32; 4] {
    std::array::from_fn(|side| expected(logits.get(side * bins * step..).unwrap_or(&[]), bins, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_distribution() {
        assert_eq!(expected(&[0.0; 17], 17, 1), 8.0);
        let mut sharp = [0.0; 8];
        sharp[5] = 100.0;
        assert_eq!(expected(&sharp, 8, 1), 5.0);
        let logits = [0.3f32, -1.0, 2.0];
        let shares = logits.map(|logit| f64::from(logit).exp());
        let mean = (shares[1] + 2.0 * shares[2]) / shares.iter().sum::<f64>();
        assert!((f64::from(expected(&logits, 3, 1)) - mean).abs() < 1e-6);
        assert_eq!(expected(&[1e30, 1e30], 2, 1), 0.5);
        assert!(expected(&[f32::NAN, 0.0], 2, 1).is_nan());
    }

    #[test]
    fn bins_may_lie_apart() {
        let mut logits = [0.0; 24];
        for (side, bin) in [(0, 2), (1, 0), (2, 1), (3, 2)] {
            logits[(side * 3 + bin) * 2] = 200.0;
        }
        assert_eq!(four(&logits, 3, 2), [2.0, 0.0, 1.0, 2.0]);
    }
}
