//! The threshold whose 128 levels lose the least information: Kullback-Leibler divergence of the magnitudes as they are from the magnitudes as they become.
//!
//! Source: S. Migacz, "8-bit inference with TensorRT" (GTC 2017, S7310), and the zero bin as in NVIDIA's published calibrator: it counts as many as the bin beside it,
//! or the zeros of a ReLU would decide alone.
//!
//! For each number of bins i that are kept, P is those bins with everything beyond added to the last, and Q is the same bins without the addition, merged into 128
//! levels and spread evenly over P's non-empty bins. Inside a level Q is constant, so running sums give the divergence in 128 steps instead of i:
//!
//! ```text
//! KL(P || Q) = (1/N) (sum over bins of p ln p  -  sum over levels of P's mass ln(Q's mass / bins that share it)) + ln(kept / N)
//! ```

use std::ops::Range;

/// Levels of magnitude.
const LEVELS: usize = 128;

/// Running sums over the bins below an index.
#[derive(Clone, Copy, Default)]
struct Sums {
    mass: f64,
    filled: u32,
    /// Of count times its logarithm.
    information: f64,
}

/// The best threshold in bins, possibly beyond the last; where there are no more bins than levels, all of them.
pub(super) fn edge(counts: &[u64]) -> f64 {
    let used = counts.len();
    if used <= LEVELS {
        return used as f64;
    }
    let counts: Vec<f64> = (0..used).map(|bin| counts[bin.max(1)] as f64).collect();
    let sums = running(&counts);
    let divergences = (LEVELS..=used).map(|kept| (kept, divergence(&counts, &sums, kept)));
    let best = divergences.fold((used, f64::INFINITY), |best, next| if next.1 <= best.1 { next } else { best });
    best.0 as f64 + 0.5
}

fn running(counts: &[f64]) -> Vec<Sums> {
    let mut sum = Sums::default();
    let sums = counts.iter().map(|&count| {
        sum.mass += count;
        sum.filled += u32::from(count > 0.0);
        sum.information += count_times_log(count);
        sum
    });
    std::iter::once(Sums::default()).chain(sums).collect()
}

/// KL(P || Q) where the first `kept` bins stay; infinite where the clipped mass falls on a level that Q leaves empty.
fn divergence(counts: &[f64], sums: &[Sums], kept: usize) -> f64 {
    let (total, kept_mass) = (sums[counts.len()].mass, sums[kept].mass);
    if kept_mass == 0.0 {
        return f64::INFINITY;
    }
    let clipped = total - kept_mass;
    let own = counts[kept - 1];
    let newly_filled = u32::from(own == 0.0 && clipped > 0.0);
    let mut cross = 0.0;
    for level in 0..LEVELS {
        let bins = bins_of(level, kept);
        let mass = sums[bins.end].mass - sums[bins.start].mass;
        let filled = sums[bins.end].filled - sums[bins.start].filled;
        let (clipped, newly_filled) = if level + 1 == LEVELS { (clipped, newly_filled) } else { (0.0, 0) };
        if mass + clipped > 0.0 {
            cross += (mass + clipped) * (mass / f64::from(filled + newly_filled)).ln();
        }
    }
    let information = sums[kept - 1].information + count_times_log(own + clipped);
    (information - cross) / total + (kept_mass / total).ln()
}

/// Bin b of `kept` belongs to level floor(128 b / kept).
fn bins_of(level: usize, kept: usize) -> Range<usize> {
    (level * kept).div_ceil(LEVELS)..((level + 1) * kept).div_ceil(LEVELS)
}

fn count_times_log(count: f64) -> f64 {
    if count > 0.0 { count * count.ln() } else { 0.0 }
}
