//! Whether a session in stages has its limit, and how it lives within it.

use std::sync::Arc;

use super::Staged;
use super::device::StageDevice;
use super::sizes::Sizes;
use super::store::{Guest, Store};
use crate::engine::{Layout, Request};
use crate::error::{Error, Result};
use crate::ledger::{Plan, Refusal, Scope};

/// A session that was let in. It is let go when the last of its slots goes.
pub(crate) struct Admitted<D: StageDevice> {
    pub(crate) staged: Arc<Staged<D>>,
    pub(crate) sizes: Sizes,
    /// What it holds if it is resident, and what it needs at least if it is not.
    pub(crate) plan: Plan,
    pub(crate) is_resident: bool,
    /// Most bytes on the device for weights and this session.
    limit: Option<u64>,
    number: u64,
}

/// What a session asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'t> {
    pub(crate) layout: &'t Layout,
    pub(crate) request: &'t Request,
    /// Most bytes on the device for weights and this session.
    pub(crate) budget_bytes: Option<u64>,
    /// Whether stages are to come and go even where everything fits.
    pub(crate) streaming: bool,
}

impl<D: StageDevice> Staged<D> {
    /// Lets a session in: resident where everything fits its limits, with all stages loaded; streaming otherwise.
    pub(crate) fn admit(self: &Arc<Self>, terms: Terms<'_>) -> Result<Arc<Admitted<D>>> {
        let sizes = self.sizes(terms.layout, terms.request);
        let mut store = self.lock();
        let limits = Limits::of(self, &store, terms.budget_bytes);
        let weights = self.weights(&store);
        let resident = sizes.resident(&weights);
        self.ledger().admits(&resident.pinned())?;
        let beside = store.guests.iter().map(|guest| guest.turn_bytes).max().unwrap_or(0);
        if !terms.streaming && limits.check(&resident, beside).is_ok() {
            match self.load_all(&mut store) {
                Ok(()) => return Ok(self.let_in(&mut store, sizes, resident, true, terms.budget_bytes)),
                // The device has less than the budget allows.
                Err(error) if error.is_out_of_memory() => {}
                Err(error) => return Err(self.tidied(&mut store, error)),
            }
        }
        let streaming = sizes.streaming(&weights, store.resident > 0);
        let others = store.guests.iter().map(|guest| guest.total_bytes).max().unwrap_or(0);
        let crowded = (sizes.kept_bytes().saturating_add(others)).saturating_sub(streaming.device_bytes());
        match limits.check(&streaming, crowded) {
            Ok(()) => Ok(self.let_in(&mut store, sizes, streaming, false, terms.budget_bytes)),
            Err(refusal) => Err(self.tidied(&mut store, Error::OverBudget(Box::new(refusal)))),
        }
    }

    /// Loads what is not loaded.
    fn load_all(&self, store: &mut Store<D::Runner>) -> Result<()> {
        for stage in 0..self.stages() {
            if store.loaded[stage].is_none() {
                store.loaded[stage] = Some(self.load(stage).map_err(|error| self.failed(stage, error))?);
            }
        }
        Ok(())
    }

    fn let_in(
        self: &Arc<Self>,
        store: &mut Store<D::Runner>,
        sizes: Sizes,
        plan: Plan,
        is_resident: bool,
        limit: Option<u64>,
    ) -> Arc<Admitted<D>> {
        let number = self.number();
        if is_resident {
            store.resident += 1;
        } else {
            let total_bytes = plan.device_bytes().saturating_sub(sizes.kept_bytes());
            store.guests.push(Guest { session: number, turn_bytes: sizes.most_turn_bytes(), total_bytes });
        }
        Arc::new(Admitted { staged: Arc::clone(self), sizes, plan, is_resident, limit, number })
    }

    /// Leaves nothing loaded for nobody.
    fn tidied(&self, store: &mut Store<D::Runner>, error: Error) -> Error {
        if store.resident == 0 && store.guests.is_empty() {
            store.clear();
        }
        error
    }
}

impl<D: StageDevice> Admitted<D> {
    /// Bytes that loaded stages may take while `stage` runs and `missing` bytes of blocks have yet to be allocated; nothing
    /// where there is no limit.
    pub(crate) fn room(&self, store: &Store<D::Runner>, stage: usize, missing: u64) -> Option<u64> {
        let loaded = store.loaded_bytes();
        let of_ledger =
            self.staged.ledger().room_bytes().map(|room| room.saturating_add(loaded).saturating_sub(missing));
        [of_ledger, self.room_of_session(stage, self.sizes.activations[stage])].into_iter().flatten().min()
    }

    fn room_of_session(&self, stage: usize, activation: u64) -> Option<u64> {
        let blocks = self.sizes.kept_bytes().saturating_add(self.sizes.live_bytes(stage));
        let held = blocks.saturating_add(activation);
        self.limit.map(|limit| limit.saturating_sub(held))
    }

    /// That what is loaded, and what a run of it needs beside its tensors, which both may be more than was said, are within
    /// the session's limit. What other sessions keep is theirs.
    pub(crate) fn check(&self, store: &Store<D::Runner>, stage: usize, activation: u64) -> Result<()> {
        let Some(have_bytes) = self.room_of_session(stage, activation).filter(|_| store.resident == 0) else {
            return Ok(());
        };
        let need_bytes = store.loaded_bytes();
        if need_bytes <= have_bytes {
            return Ok(());
        }
        let limit_bytes = self.limit.unwrap_or_default();
        let refusal = Refusal { scope: Scope::Session, need_bytes, have_bytes, limit_bytes, holders: Vec::new() };
        Err(Error::OverBudget(Box::new(refusal)))
    }
}

impl<D: StageDevice> Drop for Admitted<D> {
    fn drop(&mut self) {
        let mut store = self.staged.lock();
        if self.is_resident {
            store.resident -= 1;
        }
        store.guests.retain(|guest| guest.session != self.number);
        if store.resident == 0 && store.guests.is_empty() {
            store.clear();
        }
    }
}

/// Limits of device memory at the time that a session is asked for.
struct Limits<'l, D: StageDevice> {
    staged: &'l Staged<D>,
    session: Option<u64>,
    /// What the ledger has for weights and this session; stages that are loaded now may go.
    ledger: Option<u64>,
}

impl<'l, D: StageDevice> Limits<'l, D> {
    fn of(staged: &'l Staged<D>, store: &Store<D::Runner>, session: Option<u64>) -> Self {
        let ledger = staged.ledger().room_bytes().map(|room| room.saturating_add(store.loaded_bytes()));
        Self { staged, session, ledger }
    }

    /// That `plan` is within them; of the ledger's room others use `beside` at the same time.
    fn check(&self, plan: &Plan, beside: u64) -> Result<(), Refusal> {
        let need_bytes = plan.device_bytes();
        if let Some(limit_bytes) = self.session.filter(|limit| need_bytes > *limit) {
            let (scope, have_bytes) = (Scope::Session, limit_bytes);
            return Err(Refusal { scope, need_bytes, have_bytes, limit_bytes, holders: Vec::new() });
        }
        let need_bytes = need_bytes.saturating_add(beside);
        let Some(have_bytes) = self.ledger.filter(|room| need_bytes > *room) else { return Ok(()) };
        let ledger = self.staged.ledger();
        let limit_bytes = ledger.budget().device_bytes.unwrap_or(u64::MAX);
        let mut holders = ledger.holders();
        holders.retain(|holder| !holder.class.is_pinned());
        Err(Refusal { scope: Scope::Device, need_bytes, have_bytes, limit_bytes, holders })
    }
}
