//! The monitor's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::publisher::Publisher;
use super::{Counters, Mark, MonitorOptions, Recorder, Sample, Source};
use crate::error::{Error, Result};

/// Longest that a start waits for the first sample.
const LONGEST_START: Duration = Duration::from_millis(500);

/// What the thread and whoever started it share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    woken: Condvar,
    start: Instant,
}

#[derive(Debug)]
struct State {
    recorder: Recorder,
    /// Whether the first sample was taken, or could not be.
    begun: bool,
    stopped: bool,
}

impl Shared {
    pub(super) fn new(recorder: Recorder, start: Instant) -> Self {
        Self { state: Mutex::new(State { recorder, begun: false, stopped: false }), woken: Condvar::new(), start }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mark(&self, label: &str) {
        let mark = Mark::new(self.start.elapsed(), label);
        self.lock().recorder.mark(mark);
    }

    pub(super) fn latest(&self) -> Option<Sample> {
        self.lock().recorder.latest().copied()
    }

    /// Waits until the first look is over, so that nothing of the start falls into what comes after, but not for ever for one that
    /// does not end.
    pub(super) fn wait_for_first(&self) {
        let not_begun = |state: &mut State| !state.begun;
        let waited = self.woken.wait_timeout_while(self.lock(), LONGEST_START, not_begun);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn stop(&self) {
        self.lock().stopped = true;
        self.woken.notify_all();
    }

    /// The recording, once the thread has ended; an empty one stays.
    pub(super) fn take(&self) -> Recorder {
        let empty = Recorder::new("", &MonitorOptions { buckets: 0, marks: 0, ..MonitorOptions::default() });
        std::mem::replace(&mut self.lock().recorder, empty)
    }

    /// Waits until `due` or until it is to stop; whether it is to stop.
    fn wait_until(&self, due: Instant) -> bool {
        let mut state = self.lock();
        while !state.stopped {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.woken.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stopped
    }
}

/// What the thread does.
pub(super) struct Sampling<S> {
    source: S,
    publisher: Option<Publisher>,
    counters: Counters,
    shared: Arc<Shared>,
    interval: Duration,
}

impl<S: Source> Sampling<S> {
    pub(super) fn new(
        source: S,
        publisher: Option<Publisher>,
        counters: Counters,
        shared: Arc<Shared>,
        interval: Duration,
    ) -> Self {
        Self { source, publisher, counters, shared, interval }
    }

    pub(super) fn run(mut self) {
        let mut due = self.shared.start;
        loop {
            let stop = self.shared.wait_until(due);
            if !self.sample() || stop {
                return;
            }
            // Samples that were missed, such as while the machine slept, are not made up for.
            let behind = Instant::now().saturating_duration_since(due).as_nanos() / self.interval.as_nanos().max(1);
            due += self.interval * u32::try_from(behind + 1).unwrap_or(u32::MAX);
        }
    }

    /// Takes a sample; whether there may be another.
    fn sample(&mut self) -> bool {
        let mut sample = Sample { at: self.shared.start.elapsed(), ..Sample::default() };
        self.counters.note(&mut sample.values);
        let seen = look(&mut self.source, &mut sample);
        let goes_on = !matches!(seen, Err(Error::Panicked { .. } | Error::NoProcess { .. }));
        let mut state = self.shared.lock();
        if !matches!(seen, Err(Error::NoProcess { .. })) {
            state.recorder.push(sample);
        }
        if let Err(error) = seen {
            state.recorder.fault(error);
        }
        if let Some(publisher) = &mut self.publisher
            && let Err(error) = publisher.show(&sample, state.recorder.marks())
        {
            state.recorder.not_published(error);
        }
        if !std::mem::replace(&mut state.begun, true) {
            self.shared.woken.notify_all();
        }
        goes_on
    }
}

fn look(source: &mut impl Source, sample: &mut Sample) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| source.look(&mut sample.values))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::Panicked { what: "the monitor's source", message })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;

    struct Nothing;

    impl Source for Nothing {
        fn look(&mut self, _: &mut Values) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn samples_go_on_while_the_disk_is_full_and_the_end_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let interval = Duration::from_millis(1);
        let publisher = Publisher::over(folder.path().join("shown.json"), full, "title", interval).unwrap();
        let recorder = Recorder::new("title", &MonitorOptions::default());
        let shared = Arc::new(Shared::new(recorder, Instant::now()));
        let sampling = Sampling::new(Nothing, Some(publisher), Counters::default(), Arc::clone(&shared), interval);
        let thread = std::thread::spawn(move || sampling.run());
        while shared.latest().is_none_or(|sample| sample.at < 5 * interval) {
            std::thread::yield_now();
        }
        shared.stop();
        thread.join().unwrap();
        let recording = shared.take().finish();
        assert!(recording.samples() >= 2 && recording.faults.first.is_none());
        assert_eq!(recording.unpublished.count, recording.samples());
        let Some(Error::Io { source, .. }) = recording.unpublished.first else { panic!("a typed error") };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    }
}
