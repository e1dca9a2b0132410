//! When throughput counts as settled. Pure.

/// Windows of time whose median is taken; twice as many are looked at.
pub const GROUP: usize = 3;

/// How far two medians may be apart, as a part of the larger.
pub const TOLERANCE: f64 = 0.02;

/// Whether throughput has settled: the median of the last [`GROUP`] windows differs from that of the [`GROUP`] before by
/// less than [`TOLERANCE`]. A median forgives one odd window in three, such as one in which something else ran.
#[must_use]
pub fn is_stable(rates: &[f64]) -> bool {
    let Some(first) = rates.len().checked_sub(2 * GROUP) else { return false };
    let (before, after) = rates[first..].split_at(GROUP);
    let (before, after) = (median(before), median(after));
    let larger = before.max(after);
    larger > 0.0 && (before - after).abs() < TOLERANCE * larger
}

/// The median of an odd number of values.
fn median(values: &[f64]) -> f64 {
    let mut sorted = [0.0; GROUP];
    sorted.copy_from_slice(values);
    sorted.sort_by(f64::total_cmp);
    sorted[GROUP / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_that_still_rises_is_not_stable_and_one_odd_window_does_no_harm() {
        assert!(!is_stable(&[]));
        assert!(!is_stable(&[100.0; 5]), "too few windows");
        assert!(is_stable(&[100.0; 6]));
        assert!(!is_stable(&[70.0, 80.0, 90.0, 100.0, 110.0, 120.0]));
        assert!(is_stable(&[100.0, 101.0, 100.5, 12.0, 100.2, 101.5]), "an odd window");
        assert!(is_stable(&[5.0, 30.0, 100.0, 100.0, 100.0, 101.0, 100.0, 100.0]), "the beginning is forgotten");
        assert!(!is_stable(&[0.0; 6]), "nothing ran");
    }

    proptest! {
        #[test]
        fn the_unit_does_not_matter(rates in prop::collection::vec(1.0f64..1e6, 6..20), scale in 1.0f64..1e3) {
            // A power of two, so that scaling does not round.
            let scale = scale.log2().round().exp2();
            let scaled: Vec<f64> = rates.iter().map(|rate| rate * scale).collect();
            prop_assert_eq!(is_stable(&rates), is_stable(&scaled));
        }

        #[test]
        fn noise_within_the_tolerance_is_stable(noise in prop::collection::vec(0.991f64..1.009, 6..20)) {
            prop_assert!(is_stable(&noise));
        }
    }
}
