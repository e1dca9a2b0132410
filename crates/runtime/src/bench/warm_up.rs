//! Running until throughput has settled, or for long enough. Pure: time is told to it.

use std::time::Duration;

use super::report::WarmedUp;
use super::stability::is_stable;

/// Windows that the longest warm-up has.
const WINDOWS: u32 = 20;

/// What a warm-up has seen so far.
#[derive(Debug)]
pub(super) struct WarmUp {
    limit: Duration,
    window: Duration,
    started: Duration,
    runs: u64,
    rates: Vec<f64>,
}

impl WarmUp {
    /// A warm-up of at most `limit`, begun now. None at all where that is zero.
    pub(super) fn new(limit: Duration) -> Self {
        let rates = Vec::with_capacity(WINDOWS as usize + 1);
        Self { limit, window: limit / WINDOWS, started: Duration::ZERO, runs: 0, rates }
    }

    /// Counts a run that ended at `now`, since the beginning. The answer is there when that was enough.
    ///
    /// A window ends with a run, and its length is what it really took, so that few runs per window do not look uneven.
    pub(super) fn ended(&mut self, now: Duration) -> Option<WarmedUp> {
        self.runs += 1;
        if self.limit.is_zero() {
            return Some(WarmedUp { seconds: now.as_secs_f64(), stable: None });
        }
        let took = now.saturating_sub(self.started);
        if took >= self.window && !took.is_zero() {
            self.rates.push(self.runs as f64 / took.as_secs_f64());
            (self.started, self.runs) = (now, 0);
        }
        let stable = is_stable(&self.rates);
        (stable || now >= self.limit).then_some(WarmedUp { seconds: now.as_secs_f64(), stable: Some(stable) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm_up(limit: Duration, mut each: impl FnMut(u32) -> Duration) -> WarmedUp {
        let (mut warm_up, mut now) = (WarmUp::new(limit), Duration::ZERO);
        (0..)
            .find_map(|run| {
                now += each(run);
                warm_up.ended(now)
            })
            .expect("it ends")
    }

    #[test]
    fn a_steady_engine_needs_six_windows() {
        let done = warm_up(Duration::from_secs(2), |_| Duration::from_millis(10));
        assert_eq!(done, WarmedUp { seconds: 0.6, stable: Some(true) });
    }

    #[test]
    fn runs_that_are_longer_than_a_window_are_windows() {
        let done = warm_up(Duration::from_secs(2), |_| Duration::from_millis(150));
        assert_eq!(done, WarmedUp { seconds: 0.9, stable: Some(true) });
    }

    #[test]
    fn an_engine_that_never_settles_is_given_up_at_the_limit() {
        let done = warm_up(Duration::from_secs(2), |run| Duration::from_millis(10 + u64::from(run)));
        assert_eq!(done.stable, Some(false));
        assert!((2.0..2.1).contains(&done.seconds), "{done:?}");
    }

    #[test]
    fn without_a_warm_up_nothing_is_said_of_stability() {
        assert_eq!(warm_up(Duration::ZERO, |_| Duration::from_millis(1)).stable, None);
    }
}
