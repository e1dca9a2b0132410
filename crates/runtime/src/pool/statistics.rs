//! What a pool has done and holds.

/// What a pool has done and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStatistics {
    /// Buffers given that were there already.
    pub hits: u64,
    /// Buffers given that had to be allocated.
    pub misses: u64,
    /// Buffers freed because they were idle.
    pub freed: u64,
    /// Times that all idle buffers went because there was no room.
    pub clears_under_pressure: u64,
    /// Idle buffers now.
    pub idle_buffers: usize,
    /// Their bytes.
    pub idle_bytes: u64,
    /// Bytes in use now.
    pub used_bytes: u64,
    /// The most bytes that were in use at one time.
    pub peak_used_bytes: u64,
}

impl PoolStatistics {
    pub(super) fn took(&mut self, bytes: u64, hit: bool) {
        if hit {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
        self.used_bytes += bytes;
        self.peak_used_bytes = self.peak_used_bytes.max(self.used_bytes);
    }
}
