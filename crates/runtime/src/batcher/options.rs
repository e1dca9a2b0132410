//! How requests are gathered.

use std::time::Duration;

use crate::error::{Error, Result};

/// How requests are gathered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatcherOptions {
    /// Longest that the first request of a batch waits for others.
    pub max_delay: Duration,
    /// Sizes that the engine likes; a batch of one runs as soon as that many wait. Empty: powers of two and the largest.
    pub preferred: Vec<usize>,
    /// Most requests that wait; more are refused.
    pub queue_capacity: usize,
    /// Most memory of a batch, in bytes, for engines that tell what a batch takes.
    pub memory_bytes: Option<u64>,
    /// Batches that must succeed before a size that ran out of memory is tried again; doubled each time that fails.
    pub retry_after: u32,
}

impl Default for BatcherOptions {
    /// 2 ms, any size, 1024 requests, no limit on memory, 64 batches.
    fn default() -> Self {
        let max_delay = Duration::from_millis(2);
        Self { max_delay, preferred: Vec::new(), queue_capacity: 1024, memory_bytes: None, retry_after: 64 }
    }
}

impl BatcherOptions {
    /// These options with the sizes in order and within `largest`, which is one of them.
    pub(super) fn checked(mut self, largest: usize) -> Result<Self> {
        if self.queue_capacity == 0 {
            let reason = "nothing could be let in";
            return Err(Error::Request { what: "queue capacity", value: 0, reason });
        }
        if let Some(&size) = self.preferred.iter().find(|&&size| size == 0 || size > largest) {
            let reason = "the engine takes no such batch";
            return Err(Error::Request { what: "preferred batch", value: size as u64, reason });
        }
        if self.preferred.is_empty() {
            self.preferred = std::iter::successors(Some(1), |size: &usize| size.checked_mul(2))
                .take_while(|size| *size < largest)
                .chain([largest])
                .collect();
        }
        self.preferred.sort_unstable();
        self.preferred.dedup();
        Ok(self)
    }
}
