//! What a test makes the host device get wrong: allocations that fail, work that fails late, a clock of its own.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// Faults to come. The default has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Fails the allocation of this number, counted from 0 at the time the faults are set.
    pub failing_allocation: Option<u64>,
    /// Lets the operation of this number on streams fail, counted likewise, which the next wait for the stream tells.
    pub late_error: Option<u64>,
}

/// Faults with how far they have come.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    allocations: u64,
    operations: u64,
}

impl Pending {
    pub(super) fn set(&self, faults: Faults) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { faults, ..State::default() };
    }

    /// Counts an allocation; whether it fails.
    pub(super) fn allocation_fails(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.allocations += 1;
        state.faults.failing_allocation == Some(state.allocations - 1)
    }

    /// Counts an operation on a stream; whether it fails late.
    pub(super) fn operation_fails(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.operations += 1;
        state.faults.late_error == Some(state.operations - 1)
    }

    /// Allocations counted since the faults were set.
    pub(super) fn allocations(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).allocations
    }
}

/// Time as the machine has it, or as a test sets it.
#[derive(Debug)]
pub(super) enum Clock {
    Real(std::time::Instant),
    Virtual(Mutex<Duration>),
}

impl Clock {
    pub(super) fn now(&self) -> Duration {
        match self {
            Self::Real(start) => start.elapsed(),
            Self::Virtual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        if let Self::Virtual(now) = self {
            *now.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
