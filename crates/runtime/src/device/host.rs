//! This machine's own memory as a device: real allocations, streams that work in threads of their own, and faults on
//! demand, so that everything above a device can be tried for real where there is no GPU.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::faults::{Clock, Pending};
use super::{Class, Damage, Device, Faults, HostEvent, HostMemory, HostStream, Memory, MemoryInfo};
use crate::error::{Error, Result};

/// The host as a device.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// What clones of a host, its blocks and its streams share.
pub(super) struct Shared {
    capacity_bytes: Option<u64>,
    used_bytes: AtomicU64,
    pub(super) faults: Pending,
    clock: Clock,
    damage: Mutex<Vec<Damage>>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// As much memory as the machine gives, no faults, real time.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None, Clock::Real(Instant::now()))
    }

    /// At most `bytes` bytes at a time.
    #[must_use]
    pub fn with_capacity(bytes: u64) -> Self {
        Self::with(Some(bytes), Clock::Real(Instant::now()))
    }

    /// A clock that stands still until [`Self::advance`].
    #[must_use]
    pub fn with_virtual_clock() -> Self {
        Self::with(None, Clock::Virtual(Mutex::default()))
    }

    fn with(capacity_bytes: Option<u64>, clock: Clock) -> Self {
        let (used_bytes, faults, damage) = (AtomicU64::new(0), Pending::default(), Mutex::default());
        Self { shared: Arc::new(Shared { capacity_bytes, used_bytes, faults, clock, damage }) }
    }

    /// Moves a virtual clock on; a real one stays as it is.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Sets the faults to come and starts counting anew.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.faults.set(faults);
    }

    /// Allocations tried since the faults were set.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.shared.faults.allocations()
    }

    /// Bytes of all blocks there are.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// Blocks that were found overrun when they went, since the last call.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        std::mem::take(&mut *self.shared.damage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn out_of_memory(&self, class: Class, bytes: u64) -> Error {
        let free_bytes = self.shared.capacity_bytes.map(|capacity| capacity.saturating_sub(self.used_bytes()));
        Error::OutOfMemory { device: self.name().to_owned(), class, bytes, free_bytes }
    }
}

impl Shared {
    /// Takes `bytes` of the capacity; whether there were as many.
    fn take(&self, bytes: u64) -> bool {
        let fits =
            |used: u64| used.checked_add(bytes).filter(|sum| self.capacity_bytes.is_none_or(|most| *sum <= most));
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    pub(super) fn free(&self, bytes: u64, damage: Option<Damage>) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(damage) = damage {
            self.damage.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
        }
    }
}

impl Device for Host {
    type Memory = HostMemory;
    type Stream = HostStream;
    type Event = HostEvent;

    fn name(&self) -> &str {
        "host"
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        let used = self.used_bytes();
        let total_bytes = match self.shared.capacity_bytes {
            Some(capacity) => capacity,
            None => return system_memory(),
        };
        Ok(MemoryInfo { total_bytes, free_bytes: total_bytes.saturating_sub(used) })
    }

    fn now(&self) -> Duration {
        self.shared.clock.now()
    }

    fn is_unified(&self) -> bool {
        true
    }

    fn allocate(&self, class: Class, bytes: u64) -> Result<HostMemory> {
        if self.shared.faults.allocation_fails() || !self.shared.take(bytes) {
            return Err(self.out_of_memory(class, bytes));
        }
        let length = usize::try_from(bytes).ok();
        let memory = length.and_then(|length| HostMemory::new(class, length, Arc::clone(&self.shared)));
        memory.ok_or_else(|| {
            self.shared.free(bytes, None);
            self.out_of_memory(class, bytes)
        })
    }

    fn stream(&self) -> Result<HostStream> {
        HostStream::new(Arc::clone(&self.shared))
    }

    fn event(&self) -> Result<HostEvent> {
        Ok(HostEvent::default())
    }

    fn copy(&self, stream: &mut HostStream, from: &HostMemory, to: &HostMemory, bytes: u64) -> Result<()> {
        for memory in [from, to] {
            if memory.len() < bytes {
                let reason = format!("{bytes} bytes of a block of {}", memory.len());
                return Err(Error::Device { device: "host".to_owned(), call: "copy", reason });
            }
        }
        stream.copy(from.block(), to.block(), bytes as usize)
    }

    fn record(&self, event: &HostEvent, stream: &mut HostStream) -> Result<()> {
        stream.record(event)
    }

    fn wait(&self, stream: &mut HostStream, event: &HostEvent) -> Result<()> {
        stream.wait(event)
    }

    fn is_done(&self, event: &HostEvent) -> Result<bool> {
        Ok(event.is_done())
    }

    fn synchronize(&self, stream: &mut HostStream) -> Result<()> {
        stream.synchronize()
    }
}

/// The machine's memory, where the system tells. Asking for it allocates nothing.
fn system_memory() -> Result<MemoryInfo> {
    let unknown = |reason: String| Error::Device { device: "host".to_owned(), call: "memory information", reason };
    // Both numbers stand in the first three lines.
    let mut text = [0; 512];
    let read = File::open("/proc/meminfo").and_then(|mut file| file.read(&mut text));
    let length = read.map_err(|error| unknown(error.to_string()))?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    match (field("MemTotal"), field("MemAvailable")) {
        (Some(total_bytes), Some(free_bytes)) => Ok(MemoryInfo { total_bytes, free_bytes }),
        _ => Err(unknown("/proc/meminfo says nothing of it".to_owned())),
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Host({} bytes in use)", self.used_bytes())
    }
}
