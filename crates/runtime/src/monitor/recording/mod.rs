//! What became of a whole run: buckets of samples, marks, and what could not be seen.

mod csv;
mod json;
mod save;

use std::time::{Duration, SystemTime};

pub use json::{KIND, SCHEMA};
pub use save::Form;

use super::recorder::Faults;
use super::{Bucket, Mark, Quantity, Timeline};

/// A run, recorded.
#[derive(Debug)]
pub struct Recording {
    /// What it is of.
    pub title: String,
    /// When it began.
    pub started: SystemTime,
    /// Time from one sample to the next, as it was asked for.
    pub interval: Duration,
    /// The samples.
    pub timeline: Timeline,
    /// Events, first to last.
    pub marks: Vec<Mark>,
    /// Events that there was no room for.
    pub marks_dropped: u64,
    /// Looks that did not see everything.
    pub faults: Faults,
    /// Samples that other processes could not be shown, such as on a full disk.
    pub unpublished: Faults,
}

impl Recording {
    /// The buckets, first to last.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        self.timeline.buckets()
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.buckets().iter().map(|bucket| bucket.samples).sum()
    }

    /// From the first sample to the last.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let ends = self.buckets().first().zip(self.buckets().last());
        ends.map_or(Duration::ZERO, |(first, last)| last.to.saturating_sub(first.from))
    }

    /// Quantities that were ever known, in the order of [`Quantity::ALL`].
    pub fn quantities(&self) -> impl Iterator<Item = Quantity> + '_ {
        let known = |quantity: &Quantity| self.buckets().iter().any(|bucket| bucket.last.get(*quantity).is_some());
        Quantity::ALL.into_iter().filter(known)
    }

    /// The most of a quantity over the whole run.
    #[must_use]
    pub fn most(&self, quantity: Quantity) -> Option<u64> {
        self.buckets().iter().filter_map(|bucket| bucket.most.get(quantity)).max()
    }

    /// The last known value of a quantity.
    #[must_use]
    pub fn last(&self, quantity: Quantity) -> Option<u64> {
        self.buckets().iter().rev().find_map(|bucket| bucket.last.get(quantity))
    }

    /// Inferences per second, bucket by bucket; see [`Bucket::inferences_per_s`].
    pub fn throughput(&self) -> impl Iterator<Item = Option<f64>> + '_ {
        let before = std::iter::once(None).chain(self.buckets().iter().map(Some));
        self.buckets().iter().zip(before).map(|(bucket, before)| bucket.inferences_per_s(before))
    }

    /// What a reader should know about how complete it is, for a person.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let per_bucket = self.timeline.samples_per_bucket();
        if per_bucket > 1 {
            notes.push(format!(
                "the recording is long: each of its points stands for {per_bucket} samples, with the least, the most and \
                 the last of them"
            ));
        }
        if self.marks_dropped > 0 {
            notes.push(format!("{} marks found no room in the recording", self.marks_dropped));
        }
        if let Some(error) = &self.faults.first {
            notes.push(format!("{} of {} samples are not whole: {error}", self.faults.count, self.samples()));
        }
        if let Some(error) = &self.unpublished.first {
            notes.push(format!("{} samples could not be shown to other processes: {error}", self.unpublished.count));
        }
        notes
    }
}
