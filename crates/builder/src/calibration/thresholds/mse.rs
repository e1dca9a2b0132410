//! The threshold with the least squared error of quantizing and dequantizing.
//!
//! Candidates are all bin edges and the largest magnitude itself. A magnitude counts as its bin's centre and goes to the nearest of 127 multiples of the scale, or to
//! 0, so the error of a candidate is one parabola per level over a run of bins: with running sums of 1, x and x² it takes 128 steps whatever the number of bins.

use super::LEVELS;
use crate::calibration::Histogram;

/// Running sums over the bins below an index: of the counts, of the centres and of their squares.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

/// The best threshold in bins.
pub(super) fn edge(histogram: &Histogram) -> f64 {
    let moments = running(histogram);
    let amax = f64::from(histogram.amax()) / f64::from(histogram.bin_width());
    let edges = (1..moments.len() - 1).map(|bin| bin as f64).chain([amax]);
    let errors = edges.map(|edge| (edge, error(&moments, edge / f64::from(LEVELS))));
    errors.fold((amax, f64::INFINITY), |best, next| if next.1 <= best.1 { next } else { best }).0
}

/// Exact zeros are left out: they are exact at every scale.
fn running(histogram: &Histogram) -> Vec<Moments> {
    let mut sums = vec![Moments::default()];
    let mut sum = Moments::default();
    for (bin, &count) in histogram.counts_in_use().iter().enumerate() {
        let count = (if bin == 0 { count - histogram.zeros() } else { count }) as f64;
        let centre = bin as f64 + 0.5;
        sum.count += count;
        sum.sum += count * centre;
        sum.squares += count * centre * centre;
        sums.push(sum);
    }
    sums
}

/// Squared error, in squared bins, of rounding to multiples of `scale` bins and clipping behind the last.
fn error(moments: &[Moments], scale: f64) -> f64 {
    let last = moments.len() - 1;
    let (mut error, mut below) = (0.0, moments[0]);
    for level in 0..=LEVELS {
        let value = f64::from(level) * scale;
        // Bin b has its centre at b + 0.5; the conversion cuts, which makes this the first bin nearer to the next level.
        let end = if level == LEVELS { last } else { ((value + 0.5 * scale + 0.5) as usize).min(last) };
        let upto = moments[end];
        let (count, sum, squares) = (upto.count - below.count, upto.sum - below.sum, upto.squares - below.squares);
        error += squares - 2.0 * value * sum + value * value * count;
        below = upto;
    }
    error
}
