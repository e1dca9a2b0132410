//! Why a budget has no room.

use std::fmt;

use crate::bytes::Bytes;
use crate::device::Class;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Device memory, over all that the ledger knows.
    Device,
    /// Locked host memory, over all that the ledger knows.
    Pinned,
    /// Device memory of one session.
    Session,
}

/// Bytes of one class that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub owner: String,
    /// What for.
    pub class: Class,
    /// How many.
    pub bytes: u64,
}

/// A budget's answer to what does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// Whose limit it is.
    pub scope: Scope,
    /// Bytes asked for.
    pub need_bytes: u64,
    /// Bytes that are left.
    pub have_bytes: u64,
    /// The limit.
    pub limit_bytes: u64,
    /// Who holds the rest, the largest first.
    pub holders: Vec<Holder>,
}

impl Refusal {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        let short = Bytes(self.need_bytes.saturating_sub(self.have_bytes));
        match self.holders.first() {
            Some(largest) => {
                format!("{short} are missing; most is held by {} ({})", largest.owner, largest.class)
            }
            None => format!("{short} are missing; raise the budget, or ask for a smaller batch or fewer slots"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.scope {
            Scope::Device => "the device's budget",
            Scope::Pinned => "the budget of locked host memory",
            Scope::Session => "the session's budget",
        };
        let (need, have, limit) = (Bytes(self.need_bytes), Bytes(self.have_bytes), Bytes(self.limit_bytes));
        write!(out, "{need} are needed, and {whose} of {limit} has {have} left")?;
        for (index, holder) in self.holders.iter().enumerate() {
            let lead = if index == 0 { "; held: " } else { ", " };
            write!(out, "{lead}{} {} by {}", Bytes(holder.bytes), holder.class, holder.owner)?;
        }
        Ok(())
    }
}
