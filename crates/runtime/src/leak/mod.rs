//! Whether something leaks: steady growth told from growth that came once and from noise.
//!
//! A measured value, such as the memory of a process, is noted beside the number of inferences done. Judged is the second
//! half of what was noted, in blocks of which each stands for its median, so that single outliers and what follows closely on
//! one another count little:
//!
//! 1. It grows if the Mann-Kendall trend test says so (H. B. Mann, "Nonparametric tests against trend", Econometrica 13, 1945;
//!    with the correction for ties) with a probability of error below 0.001.
//! 2. The growth is spread: no two steps make up most of it.
//! 3. The growth goes on: in the last quarter it is not much slower than in the one before.
//!
//! How fast it grows is the median of the slopes between all blocks (H. Theil 1950, P. K. Sen 1968). A warm-up that takes longer
//! than about a third of the whole run looks like a leak; a longer run tells them apart.

mod soak;
mod statistics;

use std::fmt;

pub use crate::process::ProcessSample;
pub use soak::{Soak, Soaked, Watch, Watched};

use statistics::{mann_kendall, median, theil_sen};

/// Fewer samples say nothing.
pub const LEAST_SAMPLES: usize = 32;
/// Blocks that samples are put into, where there are enough.
const BLOCKS: usize = 32;
const ERROR_PROBABILITY: f64 = 0.001;
/// Largest share of the growth that two steps may make up.
const TWO_STEPS: f64 = 0.6;
/// Least slope of the last quarter as a share of that of the third.
const GOES_ON: f64 = 0.6;

/// Collects samples of one value and judges them.
#[derive(Debug, Clone, Default)]
pub struct LeakTest {
    samples: Vec<(f64, f64)>,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// There are fewer than [`LEAST_SAMPLES`] samples.
    TooFew {
        /// How many there are.
        samples: usize,
    },
    /// It does not grow, or not by more than it scatters.
    Flat,
    /// It grew, and growing ended or is ending.
    OneOff {
        /// How much it grew from the first block to the last.
        growth: f64,
    },
    /// It grows and goes on growing.
    Leak {
        /// Growth per 1,000 inferences.
        per_thousand: f64,
        /// One less the probability that a value without a trend looks like this.
        confidence: f64,
    },
}

impl Verdict {
    /// Whether it is a leak.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        matches!(self, Self::Leak { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { samples } => write!(out, "{samples} samples are too few to tell"),
            Self::Flat => out.write_str("flat"),
            Self::OneOff { .. } => out.write_str("grew once"),
            Self::Leak { .. } => out.write_str("grows"),
        }
    }
}

impl LeakTest {
    /// Notes `value` after that many inferences; the numbers must not sink.
    pub fn note(&mut self, inferences: u64, value: u64) {
        self.samples.push((inferences as f64, value as f64));
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What became of the value.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.samples.len() < LEAST_SAMPLES {
            return Verdict::TooFew { samples: self.samples.len() };
        }
        let blocks = self.blocks();
        let (early, late) = blocks.split_at(blocks.len() / 2);
        let growth = late[late.len() - 1].1 - early[0].1;
        let scatter = scatter(&blocks);
        let once = || if growth > 3.0 * scatter && growth > 0.0 { Verdict::OneOff { growth } } else { Verdict::Flat };
        let values: Vec<f64> = late.iter().map(|block| block.1).collect();
        let trend = mann_kendall(&values);
        if !trend.grows || trend.error_probability >= ERROR_PROBABILITY || !spread(&values) || !goes_on(late) {
            return once();
        }
        Verdict::Leak { per_thousand: 1000.0 * theil_sen(late), confidence: 1.0 - trend.error_probability }
    }

    /// Middle and median of runs of samples that are as long as one another.
    fn blocks(&self) -> Vec<(f64, f64)> {
        let count = BLOCKS.min(self.samples.len() / 2);
        let block = |index: usize| {
            let bounds = index * self.samples.len() / count..(index + 1) * self.samples.len() / count;
            let block = &self.samples[bounds];
            let of = |pick: fn(&(f64, f64)) -> f64| median(block.iter().map(pick).collect());
            (of(|sample| sample.0), of(|sample| sample.1))
        };
        (0..count).map(block).collect()
    }
}

/// Typical distance of a block from the line through its neighbours.
fn scatter(blocks: &[(f64, f64)]) -> f64 {
    median(blocks.windows(3).map(|three| (three[1].1 - (three[0].1 + three[2].1) / 2.0).abs()).collect())
}

/// Whether no two steps make up most of the growth.
fn spread(values: &[f64]) -> bool {
    let growth = values[values.len() - 1] - values[0];
    let mut steps: Vec<f64> = values.windows(2).map(|two| two[1] - two[0]).collect();
    steps.sort_by(|one, other| other.total_cmp(one));
    growth > 0.0 && steps.iter().take(2).sum::<f64>() < TWO_STEPS * growth
}

/// Whether the second half of these blocks grows about as fast as the first.
fn goes_on(blocks: &[(f64, f64)]) -> bool {
    let (before, last) = blocks.split_at(blocks.len() / 2);
    theil_sen(last) > GOES_ON * theil_sen(before).max(0.0) && theil_sen(last) > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLES: u64 = 400;
    const STEP: u64 = 25;

    /// Values from -1 to 1 that follow from a seed (a xorshift generator).
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    fn verdict(value: impl Fn(f64) -> f64, seed: u64, scatter: f64) -> Verdict {
        let (mut test, mut random) = (LeakTest::default(), noise(seed));
        for sample in 0..SAMPLES {
            let share = sample as f64 / SAMPLES as f64;
            let noisy = 50e6 + value(share) + scatter * random();
            // Memory is counted in pages.
            test.note(sample * STEP, (noisy / 4096.0) as u64 * 4096);
        }
        test.verdict()
    }

    /// Bytes that leaked when `share` of all inferences were done.
    fn leaked(bytes_per_inference: f64, share: f64) -> f64 {
        bytes_per_inference * share * (SAMPLES * STEP) as f64
    }

    fn sawtooth(share: f64, period: f64, height: f64) -> f64 {
        height * (share / period).fract()
    }

    #[test]
    fn a_hundred_leaks_are_found() {
        for seed in 0..100 {
            let mut random = noise(seed + 1000);
            let mut between = |low: f64, high: f64| low + (high - low) * (random() + 1.0) / 2.0;
            let (per_inference, warm_up) = (between(1024.0, 4096.0), between(0.0, 100e6));
            let (period, height, page) = (between(0.005, 0.05), between(0.0, 512e3), between(4096.0, 256e3));
            let value = |share: f64| {
                let warm = warm_up * (1.0 - (-share / 0.05).exp());
                let chunks = (leaked(per_inference, share) / page).floor() * page;
                warm + chunks + sawtooth(share, period, height)
            };
            let verdict = verdict(value, seed, 100e3);
            let Verdict::Leak { per_thousand, confidence } = verdict else { panic!("{seed}: {verdict:?}") };
            assert!((per_thousand / 1000.0 / per_inference - 1.0).abs() < 0.2, "{seed}: {per_thousand}");
            assert!(confidence > 0.999, "{seed}: {confidence}");
        }
    }

    #[test]
    fn a_hundred_runs_that_leak_nothing_are_cleared() {
        for seed in 0..100 {
            let mut random = noise(seed + 5000);
            let mut between = |low: f64, high: f64| low + (high - low) * (random() + 1.0) / 2.0;
            let (size, when, slowness) = (between(1e6, 100e6), between(0.05, 0.95), between(0.02, 0.3));
            let (period, height) = (between(0.005, 0.2), between(0.0, 4e6));
            let value = |share: f64| match seed % 4 {
                0 => size * (1.0 - (-share / slowness).exp()),
                1 if share > when => size,
                2 => sawtooth(share, period, height),
                _ => 0.0,
            };
            let verdict = verdict(value, seed, between(1e3, 500e3));
            assert!(!verdict.is_leak(), "{seed}: {verdict:?}");
        }
    }

    #[test]
    fn growth_that_came_once_is_told_from_none() {
        assert_eq!(verdict(|_| 0.0, 1, 50e3), Verdict::Flat);
        let step = verdict(|share| if share > 0.7 { 10e6 } else { 0.0 }, 2, 50e3);
        assert!(matches!(step, Verdict::OneOff { growth } if (growth - 10e6).abs() < 1e6), "{step:?}");
        let mut few = LeakTest::default();
        few.note(0, 1);
        assert_eq!(few.verdict(), Verdict::TooFew { samples: 1 });
    }

    proptest! {
        /// Counts that stay as they are, or sink, are never a leak, however many samples there are.
        #[test]
        fn what_does_not_grow_does_not_leak(samples in 0usize..500, start in 1_000u64..1_000_000, sinking in any::<bool>()) {
            let mut test = LeakTest::default();
            for sample in 0..samples as u64 {
                test.note(sample, if sinking { start.saturating_sub(sample) } else { start });
            }
            prop_assert!(!test.verdict().is_leak());
        }
    }
}
