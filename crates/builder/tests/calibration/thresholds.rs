//! Thresholds against references that follow the definitions step by step, and what must hold for any values.

use super::distributions::{all, histogram};
use half::f16;
use proptest::prelude::*;
use trtforge_builder::CalibrationMethod;
use trtforge_builder::calibration::{BINS, DEAD_SCALE, Histogram, Method, half_scale, scale_of, threshold};

/// KL(P || Q) with the first `kept` bins: both distributions written out, element by element.
fn slow_divergence(bins: &[f64], kept: usize) -> f64 {
    let mut p = bins[..kept].to_vec();
    p[kept - 1] += bins[kept..].iter().sum::<f64>();
    let level = |bin: usize| bin * 128 / kept;
    let (mut mass, mut members) = ([0.0; 128], [0.0; 128]);
    for bin in 0..kept {
        mass[level(bin)] += bins[bin];
        members[level(bin)] += if p[bin] > 0.0 { 1.0 } else { 0.0 };
    }
    let share = |bin: usize| if p[bin] > 0.0 { mass[level(bin)] / members[level(bin)] } else { 0.0 };
    let q: Vec<f64> = (0..kept).map(share).collect();
    let (p_sum, q_sum): (f64, f64) = (p.iter().sum(), q.iter().sum());
    let term = |(p, q): (&f64, &f64)| if *p == 0.0 { 0.0 } else { p / p_sum * ((p / p_sum) / (q / q_sum)).ln() };
    let divergence: f64 = p.iter().zip(&q).map(term).sum();
    if divergence.is_nan() { f64::INFINITY } else { divergence }
}

/// The bins the search looks at: those in use, the first one replaced by its neighbour.
fn entropy_bins(histogram: &Histogram) -> Vec<f64> {
    let last = histogram.counts().iter().rposition(|count| *count > 0).unwrap();
    let mut bins: Vec<f64> = histogram.counts()[..=last].iter().map(|count| *count as f64).collect();
    if last > 0 {
        bins[0] = bins[1];
    }
    bins
}

/// Mean squared error of quantizing the bin centres, value by value.
fn slow_error(histogram: &Histogram, threshold: f64) -> f64 {
    let width = f64::from(histogram.bin_width());
    let (scale, mut error) = (threshold / 127.0, 0.0);
    for (bin, &count) in histogram.counts().iter().enumerate() {
        let live = if bin == 0 { count - histogram.zeros() } else { count };
        let centre = (bin as f64 + 0.5) * width;
        let back = (centre / scale).round().clamp(-128.0, 127.0) * scale;
        error += live as f64 * (centre - back).powi(2);
    }
    error / (histogram.total() - histogram.zeros()) as f64
}

#[test]
fn minmax_is_the_largest_magnitude() {
    for (name, values) in all() {
        let amax = values.iter().fold(0.0f32, |amax, value| amax.max(value.abs()));
        assert_eq!(threshold(&histogram(&values), Method::Minmax), amax, "{name}");
    }
}

#[test]
fn a_percentile_is_one_bin_above_the_sorted_value() {
    for (name, values) in all() {
        let histogram = histogram(&values);
        let mut live: Vec<f32> = values.iter().map(|value| value.abs()).filter(|value| *value > 0.0).collect();
        live.sort_by(f32::total_cmp);
        for percentile in [10.0, 50.0, 99.0, 99.9, 99.99, 99.999, 100.0] {
            let rank = (percentile / 100.0 * live.len() as f64).ceil() as usize;
            let value = live[rank.clamp(1, live.len()) - 1];
            let found = threshold(&histogram, Method::Percentile(percentile));
            let above = f64::from(value) + f64::from(histogram.bin_width()) * 1.000_001;
            assert!(value <= found && f64::from(found) <= above, "{name} at {percentile}: {value} and {found}");
        }
    }
}

#[test]
fn mse_is_the_best_of_all_edges() {
    for (name, values) in all() {
        let histogram = histogram(&values);
        let width = f64::from(histogram.bin_width());
        let amax = f64::from(histogram.amax());
        let edges = (1..=BINS).map(|edge| edge as f64 * width).filter(|edge| *edge < amax).chain([amax]);
        let best = edges.map(|edge| slow_error(&histogram, edge)).fold(f64::INFINITY, f64::min);
        let found = slow_error(&histogram, f64::from(threshold(&histogram, Method::Mse)));
        assert!(found <= best * (1.0 + 1.0e-9) + width * width * 1.0e-9, "{name}: {found:e}, best {best:e}");
    }
}

/// Asserts that no number of bins among `rivals` diverges less than the one behind the threshold that was found.
fn assert_least_divergence(histogram: &Histogram, rivals: impl Iterator<Item = usize>) {
    let bins = entropy_bins(histogram);
    let (found, amax) = (threshold(histogram, Method::Entropy), histogram.amax());
    if bins.len() <= 128 {
        return assert_eq!(found, amax);
    }
    let kept = found / histogram.bin_width() - 0.5;
    // The last two candidates can both end at the largest magnitude.
    let own = if found == amax {
        slow_divergence(&bins, bins.len()).min(slow_divergence(&bins, bins.len() - 1))
    } else {
        assert_eq!(kept, kept.trunc(), "the threshold is no middle of a bin");
        slow_divergence(&bins, kept as usize)
    };
    let best = rivals
        .filter(|kept| *kept <= bins.len())
        .map(|kept| slow_divergence(&bins, kept))
        .fold(f64::INFINITY, f64::min);
    assert!(own <= best + 1.0e-9, "{own} at {kept}, best {best}");
}

#[test]
fn entropy_is_the_least_divergence() {
    for (name, values) in all() {
        eprintln!("{name}");
        assert_least_divergence(&histogram(&values), 128..=BINS);
    }
}

#[test]
fn each_method_does_what_it_is_for() {
    let of = |wanted: &str| {
        all().into_iter().find(|(name, _)| *name == wanted).map(|(_, values)| histogram(&values)).unwrap()
    };
    let outlier = of("one outlier");
    assert_eq!(threshold(&outlier, Method::Minmax), 90.0);
    assert!(threshold(&outlier, Method::Percentile(99.99)) < 6.0);
    let gaussian = of("gaussian");
    let (mse, entropy) = (threshold(&gaussian, Method::Mse), threshold(&gaussian, Method::Entropy));
    assert!((3.0..gaussian.amax()).contains(&mse), "{mse}");
    assert!((1.5..=gaussian.amax()).contains(&entropy), "{entropy}");
    let ramp = of("ramp");
    assert!(threshold(&ramp, Method::Mse) > 0.95 * ramp.amax());
}

#[test]
fn zeros_do_not_move_any_threshold() {
    for (name, values) in all() {
        let (without, mut with) = (histogram(&values), histogram(&values));
        with.add(&vec![0.0; 100_000]).unwrap();
        for method in Method::CANDIDATES {
            assert_eq!(threshold(&with, method), threshold(&without, method), "{name}, {method}");
        }
    }
}

#[test]
fn dead_and_empty_tensors_have_threshold_zero_and_a_positive_scale() {
    for dead in [Histogram::default(), histogram(&[0.0; 9])] {
        for method in Method::CANDIDATES {
            assert_eq!(threshold(&dead, method), 0.0);
        }
    }
    assert_eq!(scale_of(0.0), DEAD_SCALE);
    assert_eq!(half_scale(DEAD_SCALE), DEAD_SCALE);
}

#[test]
fn names_of_methods() {
    for method in Method::CANDIDATES {
        assert_eq!(method.to_string().parse::<Method>().unwrap(), method);
    }
    let names: Vec<String> = Method::CANDIDATES.iter().map(Method::to_string).collect();
    assert_eq!(names, ["minmax", "percentile-99.999", "percentile-99.99", "percentile-99.9", "mse", "entropy"]);
    assert_eq!("percentile".parse::<Method>().unwrap(), Method::Percentile(99.99));
    for bad in ["", "max", "percentile-", "percentile-0", "percentile-100.1", "percentile-nan", "percentile--1", "Mse"]
    {
        assert!(bad.parse::<Method>().is_err(), "{bad}");
    }
    assert_eq!(Method::of(CalibrationMethod::Auto), None);
    assert_eq!(Method::of(CalibrationMethod::Percentile), Some(Method::DEFAULT_PERCENTILE));
}

fn values() -> impl Strategy<Value = Vec<f32>> {
    let wide = any::<f32>().prop_filter("finite", |value| value.is_finite());
    let element = prop_oneof![6 => -2.0f32..2.0, 2 => Just(0.0f32), 1 => -300.0f32..300.0, 1 => wide];
    prop::collection::vec(element, 1..200)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![prop::sample::select(Method::CANDIDATES.to_vec()), (1.0e-3f64..=100.0).prop_map(Method::Percentile),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn thresholds_lie_in_the_range(values in values(), method in method()) {
        let histogram = histogram(&values);
        let found = threshold(&histogram, method);
        prop_assert!(found <= histogram.amax() && (found > 0.0 || histogram.amax() == 0.0), "{}", found);
    }

    #[test]
    fn powers_of_two_scale_the_threshold_exactly(
        values in prop::collection::vec(prop_oneof![5 => -2.0f32..2.0, 1 => Just(0.0f32), 1 => -300.0f32..300.0], 1..200),
        method in method(), exponent in -20i32..20,
    ) {
        let factor = (exponent as f32).exp2();
        let small = values.iter().all(|value| value.abs() < 1.0e-9);
        prop_assume!(!small);
        let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
        let (before, after) = (threshold(&histogram(&values), method), threshold(&histogram(&scaled), method));
        prop_assert_eq!((before * factor).to_bits(), after.to_bits());
    }

    #[test]
    fn fast_searches_agree_with_the_slow_ones(values in values()) {
        let histogram = histogram(&values);
        prop_assume!(histogram.amax() > 1.0e-30 && histogram.amax() < 1.0e30);
        assert_least_divergence(&histogram, (128..=BINS).step_by(37));
        let width = f64::from(histogram.bin_width());
        let own = slow_error(&histogram, f64::from(threshold(&histogram, Method::Mse)));
        for rival in (1..histogram.counts_in_use().len()).step_by(11) {
            prop_assert!(own <= slow_error(&histogram, rival as f64 * width) * (1.0 + 1.0e-9) + width * width * 1.0e-9);
        }
    }

    #[test]
    fn scales_are_positive_finite_and_normal(bits in any::<u32>()) {
        let scale = scale_of(f32::from_bits(bits));
        prop_assert!(scale.is_normal() && scale > 0.0);
    }

    #[test]
    fn half_scales_are_the_next_half_above(scale in prop_oneof![1.0e-9f32..70000.0, 1.0e-9f32..1.0e-3, any::<f32>().prop_filter("positive", |s| *s > 0.0)]) {
        let found = half_scale(scale);
        prop_assert_eq!(f16::from_f32(found).to_f32(), found);
        prop_assert!(found > 0.0 && found.is_finite());
        if scale <= 65504.0 {
            let below = f16::from_bits(f16::from_f32(found).to_bits() - 1).to_f32();
            prop_assert!(found >= scale && below < scale, "{} from {}, below {}", found, scale, below);
        }
    }
}
