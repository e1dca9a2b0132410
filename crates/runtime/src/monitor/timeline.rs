//! A run of any length in a fixed number of buckets. Pure.
//!
//! Each sample gets a bucket of its own until none is left. Then neighbours are put together, two by two, which frees half of
//! them, and from there on a bucket takes twice as many samples. So a recording covers the whole run from its start,
//! evenly and never in less than half of its buckets, and since each bucket keeps the least, the most and the last,
//! no peak is lost.

use super::{Bucket, Sample};

/// Samples of a run in at most a fixed number of buckets, which are allocated, and written to, at the start.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// All that there are room for; the first `used` count.
    buckets: Box<[Bucket]>,
    used: usize,
    samples_per_bucket: u64,
}

impl Timeline {
    /// Room for `capacity` buckets, rounded up to an even number of at least two.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(2).next_multiple_of(2);
        // Written to here, so that a process does not grow while it is watched.
        let blank = Bucket { samples: 1, ..Bucket::from(Sample::default()) };
        Self { buckets: vec![blank; capacity].into_boxed_slice(), used: 0, samples_per_bucket: 1 }
    }

    /// Takes in a sample that is no earlier than the ones before.
    pub fn push(&mut self, sample: Sample) {
        let full = self.samples_per_bucket;
        if let Some(last) = self.buckets[..self.used].last_mut().filter(|last| last.samples < full) {
            return last.absorb(&sample.into());
        }
        if self.used == self.buckets.len() {
            self.halve();
        }
        self.buckets[self.used] = sample.into();
        self.used += 1;
    }

    /// Puts neighbours together. All buckets are used and full.
    fn halve(&mut self) {
        for index in 0..self.used / 2 {
            let mut pair = self.buckets[2 * index];
            pair.absorb(&self.buckets[2 * index + 1]);
            self.buckets[index] = pair;
        }
        self.used /= 2;
        self.samples_per_bucket *= 2;
    }

    /// The buckets, first to last.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets[..self.used]
    }

    /// Samples that a bucket takes; all but the last have as many.
    #[must_use]
    pub fn samples_per_bucket(&self) -> u64 {
        self.samples_per_bucket
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Quantity, Values};
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn sample(index: usize, resident: Option<u64>, inferences: u64) -> Sample {
        let mut values = Values::default();
        values.set(Quantity::Resident, resident);
        values.set(Quantity::Inferences, inferences);
        Sample { at: Duration::from_millis(100 * index as u64), values }
    }

    /// A bucket as it should be, from the samples themselves.
    fn expected(samples: &[Sample]) -> Bucket {
        let (first, last) = (samples[0], samples[samples.len() - 1]);
        let of = |pick: &dyn Fn(Vec<u64>) -> u64| {
            let mut values = Values::default();
            for quantity in Quantity::ALL {
                let known: Vec<u64> = samples.iter().filter_map(|sample| sample.values.get(quantity)).collect();
                values.set(quantity, (!known.is_empty()).then(|| pick(known)));
            }
            values
        };
        Bucket {
            from: first.at,
            to: last.at,
            samples: samples.len() as u64,
            least: of(&|known| known.into_iter().min().unwrap()),
            most: of(&|known| known.into_iter().max().unwrap()),
            last: of(&|known| known[known.len() - 1]),
        }
    }

    proptest! {
        #[test]
        fn every_sample_is_in_one_bucket_whose_extremes_are_those_of_its_samples(
            values in prop::collection::vec(prop::option::weighted(0.8, 0u64..1000), 1..600), capacity in 1usize..40,
        ) {
            let samples: Vec<Sample> =
                values.iter().enumerate().map(|(index, &value)| sample(index, value, index as u64)).collect();
            let mut timeline = Timeline::new(capacity);
            samples.iter().for_each(|&sample| timeline.push(sample));
            let room = capacity.max(2).next_multiple_of(2);
            let length = timeline.buckets().len();
            prop_assert!(length <= room && (samples.len() <= room || length > room / 2));
            let chunks = samples.chunks(timeline.samples_per_bucket() as usize);
            let chunks: Vec<Bucket> = chunks.map(expected).collect();
            prop_assert_eq!(timeline.buckets(), &chunks[..]);
        }
    }

    #[test]
    fn a_peak_of_one_sample_survives_an_hour() {
        let mut timeline = Timeline::new(64);
        for index in 0..36_000 {
            timeline.push(sample(index, Some(if index == 12_345 { 1 << 40 } else { 1 << 20 }), 0));
        }
        let most = timeline.buckets().iter().filter_map(|bucket| bucket.most.get(Quantity::Resident)).max();
        assert_eq!(most, Some(1 << 40));
        assert_eq!(timeline.samples_per_bucket(), 1024);
        assert_eq!(timeline.buckets().iter().map(|bucket| bucket.samples).sum::<u64>(), 36_000);
    }

    #[test]
    fn throughput_is_what_came_since_the_bucket_before() {
        let mut timeline = Timeline::new(4);
        (0..4).for_each(|index| timeline.push(sample(index, None, 10 * index as u64 * index as u64)));
        let buckets = timeline.buckets();
        assert_eq!(buckets[0].inferences_per_s(None), None, "no time passed within it");
        assert_eq!(buckets[2].inferences_per_s(Some(&buckets[1])), Some(300.0));
        timeline.push(sample(4, None, 160));
        let buckets = timeline.buckets();
        assert_eq!(buckets[0].inferences_per_s(None), Some(100.0), "two samples in one bucket");
        assert_eq!(buckets[1].inferences_per_s(Some(&buckets[0])), Some(400.0));
    }
}
