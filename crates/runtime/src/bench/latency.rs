//! Latencies in a histogram of three significant digits, and what is told of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::session::RunTiming;

/// The quantiles that [`Latency::distribution`] has: every twentieth, and the upper end more closely.
pub const QUANTILES: [f64; 25] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97,
    0.98, 0.99, 0.995, 1.0,
];

/// The longest that can be told apart, one hour; longer ones count as that.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Samples that must lie above a percentile for it to be more than chance.
const LEAST_ABOVE: f64 = 10.0;

/// Latencies, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub samples: u64,
    /// Mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 95 % are at most this.
    pub p95: f64,
    /// 99 % are at most this. Of fewer than 1000 samples it rests on fewer than ten.
    pub p99: f64,
    /// 99.9 % are at most this; absent where fewer than ten samples, of 10 000, would lie above.
    pub p999: Option<f64>,
    /// The longest.
    pub max: f64,
    /// Values at the [`QUANTILES`].
    pub distribution: Vec<f64>,
}

/// How long a part of a run took, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Mean.
    pub mean: f64,
    /// Half of the runs took at most this.
    pub p50: f64,
    /// 99 % of the runs took at most this.
    pub p99: f64,
}

/// How long the parts of a run took; what was not measured is absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Handing a run over, on the caller's thread. Absent in an open loop, where the batcher does it.
    pub enqueue: Option<Phase>,
    /// Copies of inputs from the host to the device; zero where nothing is copied.
    pub h2d: Option<Phase>,
    /// The engine itself.
    pub compute: Option<Phase>,
    /// Copies of outputs from the device to the host; zero where nothing is copied.
    pub d2h: Option<Phase>,
}

/// Whether `samples` are enough for the percentile at `quantile` to rest on more than chance.
pub(super) fn is_enough(samples: u64, quantile: f64) -> bool {
    // The product rounds: 10 000 samples have just enough above 99.9 %.
    samples as f64 * (1.0 - quantile) > LEAST_ABOVE - 1e-6
}

/// Durations as they come; recording allocates nothing.
pub(super) struct Recorder {
    histogram: Histogram<u64>,
}

impl Recorder {
    pub(super) fn new() -> Result<Self> {
        let refused = |error: hdrhistogram::CreationError| Error::Run { reason: format!("no histogram: {error}") };
        Ok(Self { histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3).map_err(refused)? })
    }

    pub(super) fn record(&mut self, took: Duration) {
        self.histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS));
    }

    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What was recorded; nothing if that is nothing.
    pub(super) fn latency(&self) -> Option<Latency> {
        (self.count() > 0).then(|| Latency {
            samples: self.count(),
            mean: microseconds(self.histogram.mean()),
            p50: self.at(0.5),
            p90: self.at(0.9),
            p95: self.at(0.95),
            p99: self.at(0.99),
            p999: is_enough(self.count(), 0.999).then(|| self.at(0.999)),
            max: self.at(1.0),
            distribution: QUANTILES.iter().map(|&quantile| self.at(quantile)).collect(),
        })
    }

    fn phase(&self) -> Option<Phase> {
        let mean = microseconds(self.histogram.mean());
        (self.count() > 0).then(|| Phase { mean, p50: self.at(0.5), p99: self.at(0.99) })
    }

    fn at(&self, quantile: f64) -> f64 {
        microseconds(self.histogram.value_at_quantile(quantile) as f64)
    }
}

/// Nanoseconds as microseconds, to the nanosecond.
fn microseconds(nanoseconds: f64) -> f64 {
    nanoseconds.round() / 1e3
}

/// The parts of runs as they come.
pub(super) struct PhaseRecorder {
    enqueue: Recorder,
    copy_in: Recorder,
    compute: Recorder,
    copy_out: Recorder,
}

impl PhaseRecorder {
    pub(super) fn new() -> Result<Self> {
        let recorder = Recorder::new;
        Ok(Self { enqueue: recorder()?, copy_in: recorder()?, compute: recorder()?, copy_out: recorder()? })
    }

    pub(super) fn enqueued(&mut self, took: Duration) {
        self.enqueue.record(took);
    }

    pub(super) fn ran(&mut self, timing: RunTiming) {
        self.copy_in.record(timing.copy_in);
        self.compute.record(timing.compute);
        self.copy_out.record(timing.copy_out);
    }

    pub(super) fn phases(&self) -> Phases {
        Phases {
            enqueue: self.enqueue.phase(),
            h2d: self.copy_in.phase(),
            compute: self.compute.phase(),
            d2h: self.copy_out.phase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latency(nanoseconds: impl IntoIterator<Item = u64>) -> Latency {
        let mut recorder = Recorder::new().unwrap();
        nanoseconds.into_iter().for_each(|it| recorder.record(Duration::from_nanos(it)));
        recorder.latency().unwrap()
    }

    #[test]
    fn percentiles_of_known_values() {
        let latency = latency((1..=1000).map(|it| it * 1000));
        for (got, expected) in [
            (latency.p50, 500.0),
            (latency.p90, 900.0),
            (latency.p95, 950.0),
            (latency.p99, 990.0),
            (latency.max, 1000.0),
        ] {
            assert!((got / expected - 1.0).abs() < 1e-3, "{got} for {expected}");
        }
        assert!((latency.mean - 500.5).abs() < 0.6, "{}", latency.mean);
        assert_eq!((latency.samples, latency.p999), (1000, None));
    }

    #[test]
    fn far_percentiles_need_samples() {
        assert!(latency((0..9_999).map(|it| it + 1)).p999.is_none());
        assert!(latency((0..10_000).map(|it| it + 1)).p999.is_some());
        assert!(is_enough(1000, 0.99) && !is_enough(999, 0.99));
    }

    #[test]
    fn nothing_recorded_is_nothing_told_and_the_endless_is_an_hour() {
        assert!(Recorder::new().unwrap().latency().is_none());
        assert!((latency([u64::MAX]).max / 3.6e9 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn copies_that_do_not_happen_take_no_time() {
        let mut phases = PhaseRecorder::new().unwrap();
        assert_eq!(phases.phases(), Phases::default());
        phases.ran(RunTiming { compute: Duration::from_micros(5), ..RunTiming::default() });
        let phases = phases.phases();
        assert_eq!(phases.enqueue, None);
        assert_eq!(phases.h2d, Some(Phase { mean: 0.0, p50: 0.0, p99: 0.0 }));
        assert!(phases.compute.is_some_and(|compute| (compute.p50 - 5.0).abs() < 0.01));
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_the_sorted_values(values in prop::collection::vec(1u64..1_000_000_000, 1..300)) {
            let latency = latency(values.iter().copied());
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for (quantile, got) in [(0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99), (1.0, latency.max)] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
                let exact = sorted[rank - 1] as f64 / 1e3;
                prop_assert!((got - exact).abs() <= exact * 2e-3 + 0.001, "{quantile}: {got} for {exact}");
            }
            prop_assert!(latency.distribution.is_sorted());
        }
    }
}
