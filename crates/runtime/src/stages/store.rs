//! Which stages are in memory, shared by the sessions of an engine.

use super::loaded::Loaded;
use super::policy;

/// Stages that are in memory. Who holds it locked has the turn: runs that load and give up stages come one after another.
pub(crate) struct Store<R> {
    pub(crate) loaded: Vec<Option<Loaded<R>>>,
    /// Which were loaded ahead of their turn, and have not run since.
    ahead: Vec<bool>,
    /// Sessions that keep all stages.
    pub(crate) resident: usize,
    /// Sessions whose stages come and go.
    pub(crate) guests: Vec<Guest>,
    /// Which stages were given up since this was last asked for.
    given_up: Vec<usize>,
}

/// A session whose stages come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) session: u64,
    /// The most bytes of blocks that its runs hold, beside what it keeps.
    pub(crate) turn_bytes: u64,
    /// The most with weights.
    pub(crate) total_bytes: u64,
}

impl<R> Store<R> {
    pub(crate) fn new(stages: usize) -> Self {
        Self {
            loaded: std::iter::repeat_with(|| None).take(stages).collect(),
            ahead: vec![false; stages],
            resident: 0,
            guests: Vec::new(),
            given_up: Vec::new(),
        }
    }

    /// Bytes of weights of each loaded stage.
    fn bytes(&self) -> Vec<Option<u64>> {
        self.loaded.iter().map(|it| it.as_ref().map(|it| it.engine.weights_bytes())).collect()
    }

    /// Bytes of weights of all that is loaded.
    pub(crate) fn loaded_bytes(&self) -> u64 {
        self.bytes().into_iter().flatten().sum()
    }

    /// Gives up what is needed last, until `wanted` (a stage and its bytes) and what stays take at most `room` bytes; whether
    /// that can be. Where nothing may go, because another session keeps it, or it would be of no use, all stays.
    pub(crate) fn make_room(&mut self, now: usize, wanted: (usize, u64), room: Option<u64>) -> bool {
        let Some(room) = room.filter(|_| self.resident == 0) else { return true };
        let evictions = policy::evictions(&self.bytes(), now, wanted, room);
        self.give_up(evictions)
    }

    /// As [`Self::make_room`] for a stage that is loaded ahead of its turn.
    pub(crate) fn make_room_ahead(&mut self, now: usize, wanted: (usize, u64), room: Option<u64>) -> bool {
        let Some(room) = room.filter(|_| self.resident == 0) else { return true };
        let evictions = policy::evictions_ahead(&self.bytes(), now, wanted, room);
        self.give_up(evictions)
    }

    fn give_up(&mut self, stages: Option<Vec<usize>>) -> bool {
        let Some(stages) = stages else { return false };
        for stage in stages {
            self.loaded[stage] = None;
            self.ahead[stage] = false;
            self.given_up.push(stage);
        }
        true
    }

    /// Gives up all but this one, where that may be.
    pub(crate) fn give_up_others(&mut self, stage: Option<usize>) {
        if self.resident == 0 {
            let others = (0..self.loaded.len()).filter(|&it| Some(it) != stage && self.loaded[it].is_some());
            let others = others.collect();
            self.give_up(Some(others));
        }
    }

    /// Takes in a stage that was loaded ahead.
    pub(crate) fn take_in(&mut self, stage: usize, loaded: Loaded<R>) {
        self.loaded[stage] = Some(loaded);
        self.ahead[stage] = true;
    }

    /// Whether a stage was loaded ahead; it is not any more.
    pub(crate) fn was_ahead(&mut self, stage: usize) -> bool {
        std::mem::take(&mut self.ahead[stage])
    }

    /// Which stages were given up since the last call.
    pub(crate) fn take_given_up(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.given_up)
    }

    /// Gives up everything, when no session is left.
    pub(crate) fn clear(&mut self) {
        self.loaded.iter_mut().for_each(|it| *it = None);
        self.ahead.fill(false);
    }
}
