//! What a build tells its caller while it runs, and how the caller stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives what happens during a build. Every method has an empty default, so `()` is a silent listener.
pub trait Progress: Send + Sync {
    /// A step of the pipeline begins; `name` is the one that `--stop-after` takes.
    fn step(&self, _name: &str) {}
    /// Work within the current step: `done` of `total`, in units that `what` names.
    fn advance(&self, _what: &str, _done: u64, _total: u64) {}
    /// As [`Progress::advance`], for units that take about equally long: a rate and the time left may be shown.
    fn advance_steadily(&self, what: &str, done: u64, total: u64) {
        self.advance(what, done, total);
    }
    /// Something the user should know, though the build goes on.
    fn note(&self, _message: &str) {}
    /// A pass changed something: for logs at a high verbosity.
    fn applied(&self, _pass: &str, _change: &str) {}
}

impl Progress for () {}

/// A flag that stops a build at its next safe point; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Asks the build to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> crate::Result<()> {
        if self.is_cancelled() { Err(crate::Error::Cancelled) } else { Ok(()) }
    }
}
