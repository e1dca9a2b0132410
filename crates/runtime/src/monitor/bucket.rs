//! Samples of a stretch of time, put together so that peaks survive.

use std::time::Duration;

use super::{Quantity, Sample, Values};

/// Samples of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When its first sample was taken, since the start.
    pub from: Duration,
    /// When its last sample was taken, since the start.
    pub to: Duration,
    /// How many samples there are in it, at least one.
    pub samples: u64,
    /// The least of each quantity.
    pub least: Values,
    /// The most of each quantity.
    pub most: Values,
    /// The last of each quantity that was known.
    pub last: Values,
}

impl From<Sample> for Bucket {
    fn from(Sample { at, values }: Sample) -> Self {
        Self { from: at, to: at, samples: 1, least: values, most: values, last: values }
    }
}

impl Bucket {
    /// Takes in the samples of a later one.
    pub(super) fn absorb(&mut self, later: &Self) {
        self.to = later.to;
        self.samples += later.samples;
        self.least.join(&later.least, u64::min);
        self.most.join(&later.most, u64::max);
        self.last.join(&later.last, |_, last| last);
    }

    /// Inferences per second since the bucket before, or within this one where there is none; absent where nobody
    /// counted or no time passed.
    #[must_use]
    pub fn inferences_per_s(&self, before: Option<&Self>) -> Option<f64> {
        let (first, since) = match before {
            Some(before) => (before.last.get(Quantity::Inferences), before.to),
            None => (self.least.get(Quantity::Inferences), self.from),
        };
        let done = self.last.get(Quantity::Inferences)?.checked_sub(first?)?;
        let seconds = self.to.checked_sub(since)?.as_secs_f64();
        (seconds > 0.0).then(|| done as f64 / seconds)
    }
}
