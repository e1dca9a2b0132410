//! Blocks of the host device, with red zones on both sides that are looked at when a block goes.
//!
//! A block is a list of cache lines, so it is aligned as vector registers like it, and safe code: the bytes that another
//! library reaches through an address are the only ones that could be overrun.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::{Pod, Zeroable};

use super::host::Shared;
use super::{Class, Memory};

const LINE: usize = 64;
const RED: u8 = 0xA5;

/// A cache line, the unit of alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

// SAFETY: an array of bytes, as large as it is aligned, so without padding; any bytes are one.
#[allow(unsafe_code)]
unsafe impl Zeroable for Line {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Pod for Line {}

/// What was found damaged around a block: something wrote past its end or before its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// What the block was for.
    pub class: Class,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether the bytes before its start were overwritten.
    pub before: bool,
    /// Whether the bytes behind its end were overwritten.
    pub behind: bool,
}

/// A block of the host device.
pub struct HostMemory {
    block: Arc<Block>,
}

/// What a block is made of; work under way holds it too.
pub(super) struct Block {
    class: Class,
    bytes: usize,
    lines: Mutex<Vec<Line>>,
    host: Arc<Shared>,
}

impl HostMemory {
    /// A block of `bytes` zeroed bytes; nothing where the machine has none left.
    pub(super) fn new(class: Class, bytes: usize, host: Arc<Shared>) -> Option<Self> {
        let count = bytes.div_ceil(LINE).checked_add(2)?;
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; LINE]));
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
        all[..LINE].fill(RED);
        all[LINE + bytes..].fill(RED);
        Some(Self { block: Arc::new(Block { class, bytes, lines: Mutex::new(lines), host }) })
    }

    pub(super) fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// The block with its red zones, for tests that damage them.
    #[cfg(test)]
    fn raw(&mut self) -> &mut [u8] {
        let block = Arc::get_mut(&mut self.block).unwrap();
        bytemuck::cast_slice_mut(block.lines.get_mut().unwrap())
    }
}

impl Memory for HostMemory {
    fn class(&self) -> Class {
        self.block.class
    }

    fn len(&self) -> u64 {
        self.block.bytes as u64
    }

    fn bytes(&mut self) -> Option<&mut [u8]> {
        let block = Arc::get_mut(&mut self.block)?;
        let lines = block.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        Some(&mut bytemuck::cast_slice_mut::<_, u8>(lines)[LINE..][..block.bytes])
    }
}

impl Block {
    /// Copies the first `bytes` bytes to the start of `to`; both are at least as long.
    pub(super) fn copy_to(&self, to: &Self, bytes: usize) {
        // Within one block start and end are the same, and locking it twice would wait for ever.
        if std::ptr::eq(self, to) {
            return;
        }
        // Two streams that copy to and fro would wait for each other without an order.
        let (from, mut lines) = if std::ptr::from_ref(self) < std::ptr::from_ref(to) {
            let from = self.lock();
            (from, to.lock())
        } else {
            let lines = to.lock();
            (self.lock(), lines)
        };
        let target = &mut bytemuck::cast_slice_mut::<_, u8>(&mut lines)[LINE..][..bytes];
        target.copy_from_slice(&bytemuck::cast_slice::<_, u8>(&from)[LINE..][..bytes]);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damage(&mut self) -> Option<Damage> {
        let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let all: &[u8] = bytemuck::cast_slice(lines);
        let intact = |zone: &[u8]| zone.iter().all(|&byte| byte == RED);
        let (before, behind) = (!intact(&all[..LINE]), !intact(&all[LINE + self.bytes..]));
        (before || behind).then_some(Damage { class: self.class, bytes: self.bytes as u64, before, behind })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let damage = self.damage();
        self.host.free(self.bytes as u64, damage);
    }
}

impl fmt::Debug for HostMemory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HostMemory({}, {} bytes)", self.block.class, self.block.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Host};
    use super::*;

    #[test]
    fn a_block_is_aligned_zeroed_and_of_the_size_asked_for() {
        for bytes in [0, 1, 63, 64, 65, 1000] {
            let mut memory = Host::new().allocate(Class::Io, bytes).unwrap();
            let view = memory.bytes().unwrap();
            assert_eq!(view.len() as u64, bytes);
            assert_eq!(view.as_ptr().align_offset(64), 0);
            assert!(view.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn writing_past_either_end_is_noticed_when_the_block_goes() {
        let host = Host::new();
        let mut memory = host.allocate(Class::Io, 100).unwrap();
        memory.bytes().unwrap().fill(7);
        drop(memory);
        assert_eq!(host.damage(), []);
        for (offset, before, behind) in [(LINE - 1, true, false), (LINE + 100, false, true)] {
            let mut memory = host.allocate(Class::Activation, 100).unwrap();
            memory.raw()[offset] = 0;
            drop(memory);
            assert_eq!(host.damage(), [Damage { class: Class::Activation, bytes: 100, before, behind }]);
        }
    }
}
