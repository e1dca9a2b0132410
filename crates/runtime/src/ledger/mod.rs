//! Who holds how many bytes of what, and whether there is room for more.
//!
//! One ledger per device, shared by all engines, sessions and pools on it. Bytes are entered before they are allocated,
//! so that a refusal costs nothing, and struck out when the memory has gone.

mod allocation;
mod budget;
mod plan;
mod refusal;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use allocation::{Allocation, Allocator};
pub use budget::Budget;
pub use plan::Plan;
pub use refusal::{Holder, Refusal, Scope};

use crate::device::Class;
use crate::error::{Error, Result};

/// The account of a device's memory. Cheap to clone; clones are the same ledger.
#[derive(Clone, Default)]
pub struct Ledger {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    budget: Budget,
    entries: BTreeMap<(Arc<str>, Class), u64>,
    totals: [u64; Class::ALL.len()],
    peaks: [u64; Class::ALL.len()],
    peak_device: u64,
}

impl Ledger {
    /// A ledger that refuses what goes past `budget`.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        let ledger = Self::default();
        ledger.lock().budget = budget;
        ledger
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the budget. What is held stays, even past it; only what comes is refused.
    pub fn set_budget(&self, budget: Budget) {
        self.lock().budget = budget;
    }

    /// The budget in force.
    #[must_use]
    pub fn budget(&self) -> Budget {
        self.lock().budget
    }

    /// Enters `bytes` for `owner` until the entry goes.
    ///
    /// # Errors
    /// [`Error::OverBudget`] with what is needed, what there is and who holds the rest; nothing is entered.
    pub fn enter(&self, owner: &Arc<str>, class: Class, bytes: u64) -> Result<Entry> {
        let mut state = self.lock();
        state.admit(class, bytes).map_err(|refusal| Error::OverBudget(Box::new(refusal)))?;
        *state.entries.entry((Arc::clone(owner), class)).or_default() += bytes;
        let index = class.index();
        state.totals[index] += bytes;
        state.peaks[index] = state.peaks[index].max(state.totals[index]);
        state.peak_device = state.peak_device.max(state.device_bytes());
        drop(state);
        Ok(Entry { ledger: self.clone(), owner: Arc::clone(owner), class, bytes })
    }

    /// Whether all of `plan` would be let in now.
    ///
    /// # Errors
    /// [`Error::OverBudget`] as [`Self::enter`] gives it.
    pub fn admits(&self, plan: &Plan) -> Result<()> {
        let state = self.lock();
        state.admit_sum(Scope::Device, plan.device_bytes()).map_err(|refusal| Error::OverBudget(Box::new(refusal)))?;
        state.admit_sum(Scope::Pinned, plan.pinned_bytes()).map_err(|refusal| Error::OverBudget(Box::new(refusal)))
    }

    /// What is held now, by class.
    #[must_use]
    pub fn held(&self) -> Plan {
        Plan::from_totals(self.lock().totals)
    }

    /// The most that was ever held of each class, not necessarily at one time.
    #[must_use]
    pub fn peak(&self) -> Plan {
        Plan::from_totals(self.lock().peaks)
    }

    /// The most device memory that was held at one time, in bytes.
    #[must_use]
    pub fn peak_device_bytes(&self) -> u64 {
        self.lock().peak_device
    }

    /// Counts peaks anew: what is held now is the most that was held.
    pub fn restart_peaks(&self) {
        let mut state = self.lock();
        state.peaks = state.totals;
        state.peak_device = state.device_bytes();
    }

    /// Device memory that the budget still has; nothing where there is no limit.
    pub(crate) fn room_bytes(&self) -> Option<u64> {
        let state = self.lock();
        Some(state.budget.device_bytes?.saturating_sub(state.device_bytes()))
    }

    /// Who holds what, the largest first.
    #[must_use]
    pub fn holders(&self) -> Vec<Holder> {
        self.lock().holders(|_| true)
    }

    /// What `owner` holds, by class.
    #[must_use]
    pub fn held_by(&self, owner: &str) -> Plan {
        let state = self.lock();
        let mut totals = [0; Class::ALL.len()];
        for ((_, class), bytes) in state.entries.iter().filter(|((name, _), _)| &**name == owner) {
            totals[class.index()] += bytes;
        }
        Plan::from_totals(totals)
    }
}

impl State {
    fn device_bytes(&self) -> u64 {
        Plan::from_totals(self.totals).device_bytes()
    }

    fn admit(&self, class: Class, bytes: u64) -> Result<(), Refusal> {
        self.admit_sum(if class.is_pinned() { Scope::Pinned } else { Scope::Device }, bytes)
    }

    fn admit_sum(&self, scope: Scope, bytes: u64) -> Result<(), Refusal> {
        let held = Plan::from_totals(self.totals);
        let (limit, held_bytes) = match scope {
            Scope::Pinned => (self.budget.pinned_bytes, held.pinned_bytes()),
            _ => (self.budget.device_bytes, held.device_bytes()),
        };
        let Some(limit_bytes) = limit else { return Ok(()) };
        let have_bytes = limit_bytes.saturating_sub(held_bytes);
        if bytes <= have_bytes {
            return Ok(());
        }
        let holders = self.holders(|class| class.is_pinned() == (scope == Scope::Pinned));
        Err(Refusal { scope, need_bytes: bytes, have_bytes, limit_bytes, holders })
    }

    fn holders(&self, wanted: impl Fn(Class) -> bool) -> Vec<Holder> {
        let entries = self.entries.iter().filter(|((_, class), bytes)| **bytes > 0 && wanted(*class));
        let mut holders: Vec<Holder> = entries
            .map(|((owner, class), bytes)| Holder { owner: owner.to_string(), class: *class, bytes: *bytes })
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        holders
    }
}

/// Bytes that are in the ledger as long as this is there. Nothing unsound comes of keeping one for ever: the ledger then
/// says that the memory is held.
#[derive(Debug)]
pub struct Entry {
    ledger: Ledger,
    owner: Arc<str>,
    class: Class,
    bytes: u64,
}

impl Entry {
    /// Bytes entered.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.ledger.lock();
        state.totals[self.class.index()] -= self.bytes;
        let key = (Arc::clone(&self.owner), self.class);
        if let Some(bytes) = state.entries.get_mut(&key) {
            *bytes -= self.bytes;
            if *bytes == 0 {
                state.entries.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ledger").field("held", &self.held()).field("budget", &self.budget()).finish()
    }
}
