//! What a batcher has done.

/// What a batcher has done. Requests let in are `succeeded + failed + expired + refused_at_end`, and those that wait or run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatcherStatistics {
    /// Requests let in.
    pub accepted: u64,
    /// Requests that found the queue full.
    pub refused: u64,
    /// Requests answered with an output.
    pub succeeded: u64,
    /// Requests answered with the engine's error.
    pub failed: u64,
    /// Requests whose deadline passed.
    pub expired: u64,
    /// Requests that waited when the batcher ended.
    pub refused_at_end: u64,
    /// Batches run, those that ran out of memory included.
    pub batches: u64,
    /// Batches that ran out of memory.
    pub out_of_memory: u64,
    /// Callbacks that panicked.
    pub callback_panics: u64,
    /// Most requests that waited at one time.
    pub peak_waiting: usize,
    /// Largest batch allowed now.
    pub ceiling: usize,
}
