//! Arrivals that know nothing of each other.

use std::time::Duration;

use crate::error::{Error, Result};

/// Times of arrivals of a Poisson process, from its beginning: the gaps are exponentially distributed and independent.
/// The same seed gives the same times.
#[derive(Debug, Clone)]
pub struct Poisson {
    random: fastrand::Rng,
    per_second: f64,
    seconds: f64,
}

impl Poisson {
    /// Arrivals at `per_second` in the mean.
    ///
    /// # Errors
    /// [`Error::Request`] where that is no rate.
    pub fn new(per_second: f64, seed: u64) -> Result<Self> {
        if !(per_second.is_finite() && per_second > 0.0) {
            let reason = "arrivals per second are a number above zero";
            return Err(Error::Request { what: "rate", value: 0, reason });
        }
        Ok(Self { random: fastrand::Rng::with_seed(seed), per_second, seconds: 0.0 })
    }
}

impl Iterator for Poisson {
    type Item = Duration;

    /// The next arrival; none after more time than a [`Duration`] holds.
    fn next(&mut self) -> Option<Duration> {
        // The inverse of the distribution function at a number in (0, 1].
        self.seconds -= (1.0 - self.random.f64()).ln() / self.per_second;
        Duration::try_from_secs_f64(self.seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_are_exponential() {
        let times: Vec<f64> = Poisson::new(50.0, 7).unwrap().take(20_000).map(|time| time.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean * 50.0 - 1.0).abs() < 0.03, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.05, "an exponential's deviation is its mean: {deviation}");
        for quantile in [0.1f64, 0.5, 0.9, 0.99] {
            let limit = -(1.0 - quantile).ln() / 50.0;
            let below = gaps.iter().filter(|gap| **gap <= limit).count() as f64 / gaps.len() as f64;
            assert!((below - quantile).abs() < 0.01, "{quantile}: {below}");
        }
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Poisson::new(rate, 1).is_err(), "{rate}");
        }
    }

    proptest! {
        #[test]
        fn times_never_go_back_and_a_seed_gives_the_same_again(rate in 1e-3f64..1e7, seed in any::<u64>()) {
            let times: Vec<Duration> = Poisson::new(rate, seed).unwrap().take(500).collect();
            prop_assert!(times.is_sorted());
            let again: Vec<Duration> = Poisson::new(rate, seed).unwrap().take(500).collect();
            prop_assert_eq!(times, again);
        }
    }
}
