//! What was wrong with an annotation file, counted by kind.

use serde::Serialize;

/// A kind of fault, how often it was met, and where first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong and what was done about it.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// The first place.
    pub first: String,
}

/// All faults of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Counts a fault.
    pub(super) fn add(&mut self, what: &'static str, place: impl FnOnce() -> String) {
        match self.0.iter_mut().find(|problem| problem.what == what) {
            Some(problem) => problem.count += 1,
            None => self.0.push(Problem { what, count: 1, first: place() }),
        }
    }

    /// One entry per kind, in the order they were met.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often this fault was met.
    pub fn count(&self, what: &str) -> u64 {
        self.0.iter().find(|problem| problem.what == what).map_or(0, |problem| problem.count)
    }
}
