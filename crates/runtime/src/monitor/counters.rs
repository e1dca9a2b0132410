//! What the application tells a monitor: runs that were done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Quantity, Values};

/// Counts inferences. Cheap to clone; clones count together, and counting takes two atomic operations.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inferences: AtomicU64,
    /// Zero before the first run.
    batch: AtomicU64,
}

impl Counters {
    /// Counts a run of `batch` inferences.
    pub fn ran(&self, batch: u64) {
        self.shared.inferences.fetch_add(batch, Ordering::Relaxed);
        self.shared.batch.store(batch, Ordering::Relaxed);
    }

    /// Inferences so far.
    #[must_use]
    pub fn inferences(&self) -> u64 {
        self.shared.inferences.load(Ordering::Relaxed)
    }

    /// Notes where they are.
    pub(super) fn note(&self, values: &mut Values) {
        values.set(Quantity::Inferences, self.inferences());
        let batch = self.shared.batch.load(Ordering::Relaxed);
        values.set(Quantity::Batch, Some(batch).filter(|batch| *batch > 0));
    }
}
