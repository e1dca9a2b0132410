//! How large batches may be and had best be, from what they took. Pure: time and memory come in as numbers.

use std::time::Duration;

use super::BatcherOptions;

/// Weight of the newest time of a size against those before.
const NEWEST: f64 = 0.2;

/// What batches of the preferred sizes took.
#[derive(Debug, Clone)]
pub(super) struct Tuner {
    sizes: Vec<Measured>,
    /// Place of the largest size allowed.
    ceiling: usize,
    memory_bytes: Option<u64>,
    successes: u32,
    retry_after: u32,
    wait: u32,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    size: usize,
    seconds: Option<f64>,
    bytes: Option<u64>,
}

impl Tuner {
    pub(super) fn new(options: &BatcherOptions) -> Self {
        let measured = |&size: &usize| Measured { size, seconds: None, bytes: None };
        let sizes: Vec<Measured> = options.preferred.iter().map(measured).collect();
        let ceiling = sizes.len().saturating_sub(1);
        let retry_after = options.retry_after.max(1);
        Self { sizes, ceiling, memory_bytes: options.memory_bytes, successes: 0, retry_after, wait: retry_after }
    }

    /// The largest batch allowed.
    pub(super) fn ceiling(&self) -> usize {
        self.sizes[self.memory_ceiling().min(self.ceiling)].size
    }

    /// The size that gives most answers per second among those allowed; a size that was never run counts as best, the
    /// largest first, so that each is measured when there are requests for it.
    pub(super) fn target(&self) -> usize {
        let allowed = &self.sizes[..=self.memory_ceiling().min(self.ceiling)];
        match allowed.iter().rev().find(|it| it.seconds.is_none()) {
            Some(unknown) => unknown.size,
            None => most_per_second(allowed),
        }
    }

    /// How many of `waiting` requests to run now, none of which can wait longer: all that are allowed, or fewer where a
    /// smaller size gives more answers per second.
    pub(super) fn size_for(&self, waiting: usize) -> usize {
        let waiting = waiting.min(self.ceiling());
        let smaller = &self.sizes[..self.sizes.partition_point(|it| it.size <= waiting)];
        let Some(seconds) = self.estimate(waiting) else { return waiting };
        let rate = |size: usize, seconds: f64| size as f64 / seconds.max(f64::MIN_POSITIVE);
        let measured = smaller.iter().filter_map(|it| Some((it.size, rate(it.size, it.seconds?))));
        let best = measured.max_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|(_, best)| *best > rate(waiting, seconds)).map_or(waiting, |(size, _)| size)
    }

    /// Seconds that a batch of `size` takes: as measured, or between the sizes below and above.
    fn estimate(&self, size: usize) -> Option<f64> {
        let above = self.sizes.iter().position(|it| it.size >= size)?;
        let high = self.sizes[above];
        if high.size == size || above == 0 {
            return high.seconds;
        }
        let low = self.sizes[above - 1];
        let share = (size - low.size) as f64 / (high.size - low.size) as f64;
        Some(low.seconds? + share * (high.seconds? - low.seconds?))
    }

    /// How long a batch of `size` takes, as far as that is known; nothing otherwise.
    pub(super) fn expected(&self, size: usize) -> Option<Duration> {
        self.estimate(size).map(Duration::from_secs_f64)
    }

    /// A batch succeeded.
    pub(super) fn succeeded(&mut self, size: usize, took: Duration, bytes: Option<u64>) {
        if let Some(measured) = self.sizes.iter_mut().find(|it| it.size == size) {
            let seconds = took.as_secs_f64();
            measured.seconds = Some(measured.seconds.map_or(seconds, |old| old + NEWEST * (seconds - old)));
            measured.bytes = bytes.or(measured.bytes);
        }
        if self.ceiling + 1 < self.sizes.len() {
            self.successes += 1;
            if self.successes >= self.wait {
                self.successes = 0;
                self.ceiling += 1;
            }
        } else {
            self.wait = self.retry_after;
        }
    }

    /// A batch ran out of memory: the next smaller size is the largest now, and stays for longer each time.
    pub(super) fn ran_out(&mut self, size: usize) {
        let below = self.sizes.partition_point(|it| it.size < size);
        let ceiling = below.saturating_sub(1);
        if ceiling < self.ceiling && self.successes == 0 && self.ceiling + 1 < self.sizes.len() {
            self.wait = self.wait.saturating_mul(2);
        }
        self.ceiling = self.ceiling.min(ceiling);
        self.successes = 0;
    }

    /// Place of the largest size whose memory fits the limit: as measured, or in proportion to the largest measured.
    fn memory_ceiling(&self) -> usize {
        let last = self.sizes.len() - 1;
        let Some(limit) = self.memory_bytes else { return last };
        let known = self.sizes.iter().rev().find_map(|it| Some((it.size as u128, u128::from(it.bytes?))));
        let fits = |it: &Measured| {
            let expected = match (it.bytes, known) {
                (Some(bytes), _) => u128::from(bytes),
                (None, Some((size, bytes))) => bytes * it.size as u128 / size,
                (None, None) => return it.size == self.sizes[0].size,
            };
            expected <= u128::from(limit)
        };
        // The smallest is always allowed: without it nothing would be answered.
        self.sizes.iter().rposition(fits).unwrap_or(0)
    }
}

fn most_per_second(sizes: &[Measured]) -> usize {
    let rate = |it: &Measured| it.size as f64 / it.seconds.unwrap_or(f64::MAX).max(f64::MIN_POSITIVE);
    // The later of two equals: larger batches leave room for bursts.
    sizes.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))).map_or(1, |it| it.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tuner(memory_bytes: Option<u64>) -> Tuner {
        let options = BatcherOptions { memory_bytes, retry_after: 4, ..BatcherOptions::default() };
        Tuner::new(&options.checked(16).unwrap())
    }

    fn measured(millis: [u64; 5]) -> Tuner {
        let mut tuner = tuner(None);
        for (size, millis) in [1, 2, 4, 8, 16].into_iter().zip(millis) {
            tuner.succeeded(size, Duration::from_millis(millis), None);
        }
        tuner
    }

    #[test]
    fn the_target_is_what_gives_most_answers_per_second() {
        assert_eq!(tuner(None).target(), 16, "unmeasured: the largest is tried");
        assert_eq!(measured([10, 11, 12, 14, 20]).target(), 16);
        assert_eq!(measured([10, 11, 12, 14, 60]).target(), 8);
        assert_eq!(measured([10, 30, 50, 90, 200]).target(), 1);
    }

    #[test]
    fn a_rest_is_split_only_where_that_is_faster() {
        assert_eq!(measured([10, 11, 12, 14, 20]).size_for(9), 9);
        assert_eq!(measured([10, 11, 12, 14, 200]).size_for(9), 8);
        assert_eq!(tuner(None).size_for(9), 9);
        assert_eq!(measured([10, 11, 12, 14, 20]).size_for(100), 16);
    }

    #[test]
    fn out_of_memory_steps_down_and_success_steps_up_again() {
        let mut tuner = tuner(None);
        tuner.ran_out(16);
        assert_eq!(tuner.ceiling(), 8);
        tuner.ran_out(8);
        assert_eq!(tuner.ceiling(), 4);
        let succeed = |tuner: &mut Tuner, times| {
            (0..times).for_each(|_| tuner.succeeded(4, Duration::from_millis(1), None));
        };
        let first = (1..100).find(|_| {
            succeed(&mut tuner, 1);
            tuner.ceiling() == 8
        });
        tuner.ran_out(8);
        let second = (1..100).find(|_| {
            succeed(&mut tuner, 1);
            tuner.ceiling() == 8
        });
        assert!(second > first, "{second:?} after {first:?}: what fails again is tried later");
        succeed(&mut tuner, 200);
        assert_eq!(tuner.ceiling(), 16);
        (0..10).for_each(|_| tuner.ran_out(1));
        assert_eq!(tuner.ceiling(), 1, "one at a time is always allowed");
    }

    #[test]
    fn memory_measured_limits_what_is_tried() {
        let mut tuner = tuner(Some(1000));
        assert_eq!(tuner.ceiling(), 1, "nothing is known yet");
        tuner.succeeded(1, Duration::from_millis(1), Some(200));
        assert_eq!(tuner.ceiling(), 4, "eight would take 1600");
        tuner.succeeded(4, Duration::from_millis(1), Some(400));
        assert_eq!(tuner.ceiling(), 8, "measured is less than in proportion");
        tuner.succeeded(8, Duration::from_millis(1), Some(1100));
        assert_eq!(tuner.ceiling(), 4);
    }

    proptest! {
        #[test]
        fn sizes_stay_allowed_whatever_happens(events in proptest::collection::vec((0usize..20, 0u64..100, any::<bool>()), 0..100)) {
            let mut tuner = tuner(None);
            for (waiting, micros, fails) in events {
                let size = tuner.size_for(waiting + 1);
                prop_assert!(size >= 1 && size <= waiting + 1 && size <= tuner.ceiling());
                prop_assert!(tuner.target() <= tuner.ceiling() && tuner.target() >= 1);
                if fails {
                    tuner.ran_out(size);
                    prop_assert!(size == 1 || tuner.ceiling() < size);
                } else {
                    tuner.succeeded(size, Duration::from_micros(micros), None);
                }
            }
        }
    }
}
