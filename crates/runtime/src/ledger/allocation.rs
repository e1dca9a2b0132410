//! Memory that is in the ledger.

use std::fmt;
use std::sync::Arc;

use super::{Entry, Ledger};
use crate::device::{Class, Device, Memory};
use crate::error::Result;

/// Allocates on a device in somebody's name, through a ledger.
#[derive(Clone)]
pub struct Allocator<D: Device> {
    device: D,
    ledger: Ledger,
    owner: Arc<str>,
}

impl<D: Device> Allocator<D> {
    /// Allocates on `device` in the name of `owner`.
    pub fn new(device: D, ledger: Ledger, owner: &str) -> Self {
        Self { device, ledger, owner: Arc::from(owner) }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The name that allocations are entered under.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// A block of `bytes` bytes.
    ///
    /// # Errors
    /// [`crate::Error::OverBudget`] before anything is allocated, or the device's own; the ledger is then as before.
    pub fn allocate(&self, class: Class, bytes: u64) -> Result<Allocation<D>> {
        let entry = self.ledger.enter(&self.owner, class, bytes)?;
        Ok(Allocation { memory: self.device.allocate(class, bytes)?, _entry: entry })
    }
}

/// A block of memory with its entry in the ledger, which goes after the block.
pub struct Allocation<D: Device> {
    memory: D::Memory,
    _entry: Entry,
}

impl<D: Device> Allocation<D> {
    /// The block.
    pub fn memory(&self) -> &D::Memory {
        &self.memory
    }

    /// The block's bytes; nothing while work holds it, or where the host cannot see them.
    pub fn bytes(&mut self) -> Option<&mut [u8]> {
        self.memory.bytes()
    }

    /// What it is for.
    pub fn class(&self) -> Class {
        self.memory.class()
    }

    /// Its size in bytes.
    pub fn len(&self) -> u64 {
        self.memory.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }
}

impl<D: Device> fmt::Debug for Allocation<D> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Allocation({}, {} bytes)", self.memory.class(), self.memory.len())
    }
}
