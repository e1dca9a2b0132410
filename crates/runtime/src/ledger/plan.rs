//! Bytes by class: what will be held, or what is.

use std::fmt;
use std::ops::{Add, AddAssign, Index};

use crate::bytes::Bytes;
use crate::device::Class;

/// Bytes by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    bytes: [u64; Class::ALL.len()],
}

impl Plan {
    pub(crate) fn from_totals(bytes: [u64; Class::ALL.len()]) -> Self {
        Self { bytes }
    }

    /// `bytes` of one class.
    #[must_use]
    pub fn of(class: Class, bytes: u64) -> Self {
        let mut plan = Self::default();
        plan.bytes[class.index()] = bytes;
        plan
    }

    /// Bytes on the device: weights, activations, inputs and outputs.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        Class::ALL.iter().filter(|class| !class.is_pinned()).map(|&class| self[class]).sum()
    }

    /// Bytes of locked host memory.
    #[must_use]
    pub fn pinned_bytes(&self) -> u64 {
        Class::ALL.iter().filter(|class| class.is_pinned()).map(|&class| self[class]).sum()
    }

    /// What of it is locked host memory.
    pub(crate) fn pinned(mut self) -> Self {
        Class::ALL.iter().filter(|class| !class.is_pinned()).for_each(|class| self.bytes[class.index()] = 0);
        self
    }

    /// All bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// What is here beyond `other`, class by class; nothing below zero.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut rest = *self;
        rest.bytes.iter_mut().zip(other.bytes).for_each(|(bytes, other)| *bytes = bytes.saturating_sub(other));
        rest
    }
}

impl Index<Class> for Plan {
    type Output = u64;

    fn index(&self, class: Class) -> &u64 {
        &self.bytes[class.index()]
    }
}

impl AddAssign for Plan {
    fn add_assign(&mut self, other: Self) {
        self.bytes.iter_mut().zip(other.bytes).for_each(|(bytes, other)| *bytes = bytes.saturating_add(other));
    }
}

impl Add for Plan {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for class in Class::ALL.into_iter().filter(|&class| self[class] > 0) {
            writeln!(out, "{:<14} {}", class.to_string(), Bytes(self[class]))?;
        }
        write!(out, "{:<14} {}", "device", Bytes(self.device_bytes()))
    }
}
