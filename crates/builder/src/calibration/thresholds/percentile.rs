//! The percentile of the magnitudes that are not exactly zero.

use crate::calibration::Histogram;

/// The lowest bin edge, in bins, with at least `percentile` per cent of the magnitudes under it.
pub(super) fn edge(histogram: &Histogram, percentile: f64) -> f64 {
    let counts = histogram.counts_in_use();
    let wanted = (histogram.total() - histogram.zeros()) as f64 * (percentile / 100.0);
    let mut under = 0;
    let zeros = std::iter::once(histogram.zeros()).chain(std::iter::repeat(0));
    let reached = counts.iter().zip(zeros).position(|(count, zeros)| {
        under += count - zeros;
        under as f64 >= wanted
    });
    reached.map_or(counts.len(), |bin| bin + 1) as f64
}
