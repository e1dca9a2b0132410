//! Buffers that come and go: kept for the next one that asks, up to a number and an amount.
//!
//! A buffer goes back to its pool when it is dropped. One that never is stays in the ledger as held, and nothing else
//! comes of it. Sessions do not use a pool: what they need is known when they are made.

mod size_class;
mod statistics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use size_class::size_class;
pub use statistics::PoolStatistics;

use crate::device::{Class, Device};
use crate::error::{Error, Result};
use crate::ledger::{Allocation, Allocator, Ledger};

/// How much a pool keeps that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most buffers.
    pub idle_buffers: usize,
    /// Most bytes.
    pub idle_bytes: u64,
}

impl Default for PoolLimits {
    /// 64 buffers, 256 MiB.
    fn default() -> Self {
        Self { idle_buffers: 64, idle_bytes: crate::bytes::mib(256) }
    }
}

/// Buffers of one device. Cheap to clone; clones are the same pool.
pub struct Pool<D: Device> {
    shared: Arc<Shared<D>>,
}

impl<D: Device> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<D: Device> {
    allocator: Allocator<D>,
    limits: PoolLimits,
    state: Mutex<State<D>>,
}

/// An idle buffer with the number of its return.
type Idle<D> = (u64, Allocation<D>);

struct State<D: Device> {
    /// Idle buffers by class and size.
    idle: BTreeMap<(Class, u64), Vec<Idle<D>>>,
    returns: u64,
    statistics: PoolStatistics,
}

impl<D: Device> Pool<D> {
    /// A pool on `device`, whose buffers are in `ledger` under the name of `owner`, idle ones too.
    pub fn new(device: D, ledger: Ledger, owner: &str, limits: PoolLimits) -> Self {
        let allocator = Allocator::new(device, ledger, owner);
        let state = State { idle: BTreeMap::new(), returns: 0, statistics: PoolStatistics::default() };
        Self { shared: Arc::new(Shared { allocator, limits, state: Mutex::new(state) }) }
    }

    /// A buffer of at least `bytes` bytes, [`size_class`] of it exactly; its contents are what the last user left.
    ///
    /// When there is no room, idle buffers go first, all of them, and it is tried once more.
    ///
    /// # Errors
    /// [`Error::OverBudget`] or [`Error::OutOfMemory`] when there is no room even so.
    pub fn take(&self, class: Class, bytes: u64) -> Result<Buffer<D>> {
        let size = size_class(bytes);
        if let Some(allocation) = self.shared.lock().take(class, size) {
            return Ok(self.buffer(allocation, bytes));
        }
        let allocation = match self.shared.allocator.allocate(class, size) {
            Err(error) if error.is_out_of_memory() => self.allocate_after_clearing(class, size, error)?,
            other => other?,
        };
        self.shared.lock().statistics.took(size, false);
        Ok(self.buffer(allocation, bytes))
    }

    fn allocate_after_clearing(&self, class: Class, size: u64, error: Error) -> Result<Allocation<D>> {
        if self.clear() == 0 {
            return Err(error);
        }
        self.shared.lock().statistics.clears_under_pressure += 1;
        self.shared.allocator.allocate(class, size)
    }

    fn buffer(&self, allocation: Allocation<D>, bytes: u64) -> Buffer<D> {
        Buffer { allocation: Some(allocation), bytes, pool: Arc::clone(&self.shared) }
    }

    /// Frees idle buffers, those idle for longest first, until at most `bytes` are left; how many bytes went.
    pub fn trim(&self, bytes: u64) -> u64 {
        let removed = self.shared.lock().trim(PoolLimits { idle_buffers: usize::MAX, idle_bytes: bytes });
        removed.iter().map(Allocation::len).sum()
    }

    /// Frees all idle buffers; how many bytes went.
    pub fn clear(&self) -> u64 {
        self.trim(0)
    }

    /// What it has done and holds.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        self.shared.lock().statistics
    }
}

impl<D: Device> Shared<D> {
    fn lock(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, allocation: Allocation<D>) {
        let mut state = self.lock();
        state.put(allocation);
        let removed = state.trim(self.limits);
        drop(state);
        // Freed outside the lock: a driver takes its time.
        drop(removed);
    }
}

impl<D: Device> State<D> {
    fn take(&mut self, class: Class, size: u64) -> Option<Allocation<D>> {
        let (_, allocation) = self.idle.get_mut(&(class, size))?.pop()?;
        self.statistics.idle_buffers -= 1;
        self.statistics.idle_bytes -= size;
        self.statistics.took(size, true);
        Some(allocation)
    }

    fn put(&mut self, allocation: Allocation<D>) {
        let (class, size) = (allocation.class(), allocation.len());
        self.returns += 1;
        self.idle.entry((class, size)).or_default().push((self.returns, allocation));
        self.statistics.idle_buffers += 1;
        self.statistics.idle_bytes += size;
        self.statistics.used_bytes -= size;
    }

    /// Removes idle buffers until `limits` hold.
    fn trim(&mut self, limits: PoolLimits) -> Vec<Allocation<D>> {
        let mut removed = Vec::new();
        while self.statistics.idle_buffers > limits.idle_buffers || self.statistics.idle_bytes > limits.idle_bytes {
            let Some(allocation) = self.oldest() else { break };
            self.statistics.idle_buffers -= 1;
            self.statistics.idle_bytes -= allocation.len();
            self.statistics.freed += 1;
            removed.push(allocation);
        }
        removed
    }

    /// Takes out what has been idle for longest; the first of each list is its oldest.
    fn oldest(&mut self) -> Option<Allocation<D>> {
        let idle = self.idle.iter().filter_map(|(key, list)| Some((list.first()?.0, *key)));
        let (_, key) = idle.min()?;
        let list = self.idle.get_mut(&key)?;
        let (_, allocation) = list.remove(0);
        if list.is_empty() {
            self.idle.remove(&key);
        }
        Some(allocation)
    }
}

/// A buffer of a pool, back there when it goes.
pub struct Buffer<D: Device> {
    allocation: Option<Allocation<D>>,
    bytes: u64,
    pool: Arc<Shared<D>>,
}

impl<D: Device> Buffer<D> {
    /// Bytes asked for; the memory behind may be larger.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether no bytes were asked for.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The memory; nothing while it is going back.
    pub fn memory(&self) -> Option<&D::Memory> {
        self.allocation.as_ref().map(Allocation::memory)
    }

    /// The bytes asked for; nothing while work holds them, or where the host cannot see them.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        let bytes = self.bytes as usize;
        self.allocation.as_mut()?.bytes()?.get_mut(..bytes)
    }
}

impl<D: Device> Drop for Buffer<D> {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            self.pool.put(allocation);
        }
    }
}
