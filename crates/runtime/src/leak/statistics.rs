//! Robust statistics of small samples.

/// The middle value, or the mean of the two middle ones; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// The median of the slopes between all pairs of points of different x; 0 where there is none.
pub(super) fn theil_sen(points: &[(f64, f64)]) -> f64 {
    let pairs =
        points.iter().enumerate().flat_map(|(index, &one)| points[index + 1..].iter().map(move |&two| (one, two)));
    median(pairs.filter(|(one, two)| two.0 > one.0).map(|(one, two)| (two.1 - one.1) / (two.0 - one.0)).collect())
}

/// What the Mann-Kendall test says.
pub(super) struct Trend {
    pub(super) grows: bool,
    /// Probability that values without a trend, in either direction, are as much in order as these.
    pub(super) error_probability: f64,
}

/// Mann-Kendall test for a monotonic trend, by the normal approximation with the correction for ties.
pub(super) fn mann_kendall(values: &[f64]) -> Trend {
    let later = |index: usize| values[index + 1..].iter().map(move |value| value.total_cmp(&values[index]) as i32);
    let score: i64 = (0..values.len()).flat_map(later).map(i64::from).sum();
    let weight = |count: f64| count * (count - 1.0) * (2.0 * count + 5.0);
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: f64 = sorted.chunk_by(|one, two| one == two).map(|tie| weight(tie.len() as f64)).sum();
    let variance = (weight(values.len() as f64) - ties) / 18.0;
    if score == 0 || variance <= 0.0 {
        return Trend { grows: false, error_probability: 1.0 };
    }
    let normal = (score.abs() - 1) as f64 / variance.sqrt();
    Trend { grows: score > 0, error_probability: complementary_error(normal / std::f64::consts::SQRT_2) }
}

/// The complementary error function, to about 1.2e-7 of its value (W. H. Press et al., "Numerical Recipes", a Chebyshev fit).
fn complementary_error(x: f64) -> f64 {
    const TERMS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + x.abs() / 2.0);
    let series = TERMS.iter().rev().fold(0.0, |sum, term| sum * t + term);
    let positive = t * (-x * x + series).exp();
    if x < 0.0 { 2.0 - positive } else { positive }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_not_moved_by_outliers() {
        let mut points: Vec<(f64, f64)> = (0..20).map(|x| (f64::from(x), 3.0 * f64::from(x) + 1.0)).collect();
        points[4].1 = 1e9;
        points[11].1 = -1e9;
        assert!((theil_sen(&points) - 3.0).abs() < 1e-9);
        assert_eq!(theil_sen(&[(1.0, 5.0)]), 0.0);
    }

    #[test]
    fn trends_have_the_probabilities_of_the_normal_distribution() {
        // 10 values in order: score 45, variance 125, so 44 / 11.18 = 3.935, and 8.3e-5 on both sides.
        let ordered: Vec<f64> = (0..10).map(f64::from).collect();
        let trend = mann_kendall(&ordered);
        assert!(trend.grows && (trend.error_probability / 8.3e-5 - 1.0).abs() < 0.02, "{}", trend.error_probability);
        let sinking: Vec<f64> = ordered.iter().rev().copied().collect();
        assert!(!mann_kendall(&sinking).grows);
        assert_eq!(mann_kendall(&[7.0; 10]).error_probability, 1.0);
        assert_eq!(mann_kendall(&[]).error_probability, 1.0);
    }

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, expected) in [(0.0, 1.0), (0.5, 0.479_500_1), (1.0, 0.157_299_2), (2.0, 0.004_677_735)] {
            assert!((complementary_error(x) / expected - 1.0).abs() < 1e-6, "{x}");
        }
    }
}
