//! Where memory is and work runs: a GPU (`Cuda`, with the feature `cuda`) or this machine's own memory ([`Host`]).
//!
//! A device is a type, not an object behind a table of functions: what uses one is generic over [`Device`], so that
//! nothing on the way of an inference is called through a pointer. Everything here is sound without a guard being
//! dropped: work that is under way holds its memory, and memory that is held shows no bytes.

mod class;
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
mod cuda;
mod faults;
mod host;
mod host_memory;
mod host_stream;

use std::time::Duration;

pub use class::Class;
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, CudaEvent, CudaGraph, CudaMemory, CudaStream};
pub use faults::Faults;
pub use host::Host;
pub use host_memory::{Damage, HostMemory};
pub use host_stream::{HostEvent, HostStream};

use crate::error::Result;

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryInfo {
    /// All of it.
    pub total_bytes: u64,
    /// What nobody uses.
    pub free_bytes: u64,
}

/// One place where memory is and work runs. Cheap to clone; clones are the same device.
pub trait Device: Clone + Send + Sync + 'static {
    /// A block of memory.
    type Memory: Memory;
    /// Work in order.
    type Stream: Send;
    /// A point in a stream.
    type Event: Send;

    /// Its name, for reports and errors.
    fn name(&self) -> &str;

    /// How large it is and what is free now.
    ///
    /// # Errors
    /// The device does not answer.
    fn memory_info(&self) -> Result<MemoryInfo>;

    /// Time on the clock that it and its tests agree on, from an arbitrary start.
    fn now(&self) -> Duration;

    /// Whether the host reads and writes device memory in place, so that nothing is copied to and fro.
    fn is_unified(&self) -> bool;

    /// A block of `bytes` bytes, zeroed where the host can see it.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], and failures of the device.
    fn allocate(&self, class: Class, bytes: u64) -> Result<Self::Memory>;

    /// A new stream.
    ///
    /// # Errors
    /// The device makes none.
    fn stream(&self) -> Result<Self::Stream>;

    /// A new event, which counts as passed until it is recorded.
    ///
    /// # Errors
    /// The device makes none.
    fn event(&self) -> Result<Self::Event>;

    /// Copies the first `bytes` bytes of `from` to the start of `to`, in the order of `stream`; returns at once. Until
    /// the stream was waited for, both show no bytes.
    ///
    /// # Errors
    /// One of them is shorter; the device refuses.
    fn copy(&self, stream: &mut Self::Stream, from: &Self::Memory, to: &Self::Memory, bytes: u64) -> Result<()>;

    /// Marks the work that `stream` was given so far.
    ///
    /// # Errors
    /// The device refuses.
    fn record(&self, event: &Self::Event, stream: &mut Self::Stream) -> Result<()>;

    /// Lets `stream` go on only when what `event` marks is done.
    ///
    /// # Errors
    /// The device refuses.
    fn wait(&self, stream: &mut Self::Stream, event: &Self::Event) -> Result<()>;

    /// Whether what `event` marks is done.
    ///
    /// # Errors
    /// The device does not answer.
    fn is_done(&self, event: &Self::Event) -> Result<bool>;

    /// Blocks until the stream has done everything; memory that it held shows its bytes again.
    ///
    /// # Errors
    /// [`crate::Error::Late`] when something it was given before failed.
    fn synchronize(&self, stream: &mut Self::Stream) -> Result<()>;
}

/// A block of memory, given back when it goes; work that is under way keeps it until it is done.
pub trait Memory: Send + 'static {
    /// What it is for.
    fn class(&self) -> Class;

    /// Its size, as it was asked for.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes; nothing while work holds it, or where the host cannot see them.
    fn bytes(&mut self) -> Option<&mut [u8]>;
}
