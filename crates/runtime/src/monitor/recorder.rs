//! Samples and marks as they come, in bounded memory, and what went wrong. Pure but for the clock at its start.

use std::time::{Duration, SystemTime};

use super::{Mark, MonitorOptions, Recording, Sample, Timeline};
use crate::error::Error;

/// Takes in samples and marks. It allocates at the start, and for the label of a mark.
#[derive(Debug)]
pub struct Recorder {
    title: String,
    started: SystemTime,
    interval: Duration,
    timeline: Timeline,
    latest: Option<Sample>,
    marks: Vec<Mark>,
    most_marks: usize,
    marks_dropped: u64,
    faults: Faults,
    unpublished: Faults,
}

/// The first error of a kind and how many there were.
#[derive(Debug, Default)]
pub struct Faults {
    /// The first.
    pub first: Option<Error>,
    /// How many there were.
    pub count: u64,
}

impl Faults {
    fn note(&mut self, error: Error) {
        self.count += 1;
        self.first.get_or_insert(error);
    }
}

impl Recorder {
    /// An empty recording of what `title` names.
    #[must_use]
    pub fn new(title: &str, options: &MonitorOptions) -> Self {
        Self {
            title: title.to_owned(),
            started: SystemTime::now(),
            interval: options.interval,
            timeline: Timeline::new(options.buckets),
            latest: None,
            marks: Vec::with_capacity(options.marks),
            most_marks: options.marks,
            marks_dropped: 0,
            faults: Faults::default(),
            unpublished: Faults::default(),
        }
    }

    /// Takes in a sample that is no earlier than the ones before.
    pub fn push(&mut self, sample: Sample) {
        self.latest = Some(sample);
        self.timeline.push(sample);
    }

    /// Takes in an event; one that there is no room for is counted.
    pub fn mark(&mut self, mark: Mark) {
        if self.marks.len() < self.most_marks {
            self.marks.push(mark);
        } else {
            self.marks_dropped += 1;
        }
    }

    /// Notes what could not be seen.
    pub fn fault(&mut self, error: Error) {
        self.faults.note(error);
    }

    pub(super) fn not_published(&mut self, error: Error) {
        self.unpublished.note(error);
    }

    /// What it is of.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The latest sample.
    #[must_use]
    pub fn latest(&self) -> Option<&Sample> {
        self.latest.as_ref()
    }

    /// Everything so far.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Events so far, first to last.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Ends the recording.
    #[must_use]
    pub fn finish(self) -> Recording {
        Recording {
            title: self.title,
            started: self.started,
            interval: self.interval,
            timeline: self.timeline,
            marks: self.marks,
            marks_dropped: self.marks_dropped,
            faults: self.faults,
            unpublished: self.unpublished,
        }
    }
}
