//! When a batch runs. Pure: the time comes in as a number.

use std::time::Duration;

use super::tuner::Tuner;

/// What waking up and answering take, beside the engine.
const SLACK: Duration = Duration::from_millis(1);

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Waits for a request.
    Idle,
    /// Waits for more requests, until then at most.
    Until(Duration),
    /// Runs that many of the first requests.
    Run(usize),
}

/// What is known of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Requests that wait.
    pub(super) waiting: usize,
    /// When the first of them arrived.
    pub(super) first_arrived: Duration,
    /// The earliest deadline of any of them.
    pub(super) deadline: Option<Duration>,
    /// Whether nothing more can come.
    pub(super) closing: bool,
}

/// What to do at `now`.
pub(super) fn decide(view: View, now: Duration, max_delay: Duration, tuner: &Tuner) -> Decision {
    if view.waiting == 0 {
        return Decision::Idle;
    }
    let target = tuner.target();
    if view.waiting >= target {
        return Decision::Run(target);
    }
    let size = tuner.size_for(view.waiting);
    let delayed = view.first_arrived.saturating_add(max_delay);
    // A request whose deadline comes sooner is worth nothing if the batch starts too late for it.
    // How long it takes is known from other batches, so twice that is allowed for; nothing known is no time to lose.
    let needed = tuner.expected(size).map_or(Duration::MAX, |expected| expected.saturating_mul(2) + SLACK);
    let latest_start = view.deadline.map(|deadline| deadline.saturating_sub(needed));
    let start = latest_start.map_or(delayed, |latest| latest.min(delayed));
    if view.closing || now >= start { Decision::Run(size) } else { Decision::Until(start) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::BatcherOptions;
    use proptest::prelude::*;

    fn tuner() -> Tuner {
        Tuner::new(&BatcherOptions::default().checked(8).unwrap())
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn view(waiting: usize, arrived: u64, deadline: Option<u64>) -> View {
        View { waiting, first_arrived: ms(arrived), deadline: deadline.map(ms), closing: false }
    }

    #[test]
    fn a_full_batch_runs_at_once_and_a_part_when_its_first_has_waited() {
        let decide = |view, now| decide(view, ms(now), ms(5), &tuner());
        assert_eq!(decide(view(0, 0, None), 100), Decision::Idle);
        assert_eq!(decide(view(8, 10, None), 10), Decision::Run(8));
        assert_eq!(decide(view(20, 10, None), 10), Decision::Run(8));
        assert_eq!(decide(view(3, 10, None), 14), Decision::Until(ms(15)));
        assert_eq!(decide(view(3, 10, None), 15), Decision::Run(3));
        assert_eq!(decide(View { closing: true, ..view(3, 10, None) }, 10), Decision::Run(3));
    }

    #[test]
    fn a_deadline_moves_the_start_forward_by_what_the_batch_takes() {
        let mut tuner = tuner();
        assert_eq!(decide(view(1, 10, Some(90)), ms(10), ms(50), &tuner), Decision::Run(1), "its time is not known");
        tuner.succeeded(1, ms(2), None);
        assert_eq!(decide(view(1, 10, Some(90)), ms(10), ms(50), &tuner), Decision::Until(ms(60)));
        assert_eq!(decide(view(1, 10, Some(30)), ms(10), ms(50), &tuner), Decision::Until(ms(25)));
        assert_eq!(decide(view(1, 10, Some(11)), ms(10), ms(50), &tuner), Decision::Run(1));
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_the_delay_for_the_start(waiting in 1usize..30, arrived in 0u64..100, now in 0u64..200, delay in 0u64..20) {
            match decide(view(waiting, arrived, None), ms(now), ms(delay), &tuner()) {
                Decision::Idle => prop_assert!(false, "requests wait"),
                Decision::Until(until) => prop_assert!(until > ms(now) && until == ms(arrived + delay)),
                Decision::Run(size) => prop_assert!(size >= 1 && size <= waiting.min(8)),
            }
        }
    }
}
