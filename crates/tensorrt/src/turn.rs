//! One build at a time in a process.
//!
//! TensorRT-RTX keeps the list of targets in a place that all builders share: builds for different
//! compute capabilities that overlap fail at random ("Target SM 80 is not found in the accelerator
//! list", seen with 1.7.1). TensorRT measures kernels while it builds, which an overlapping build
//! would disturb. Everything else a builder does may overlap.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// The right to build; over when dropped.
pub(crate) struct Turn {
    _guard: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits until no other build runs.
    ///
    /// # Errors
    /// [`Error::NestedBuild`] on a thread that is building: it would wait for itself.
    pub(crate) fn wait() -> Result<Self> {
        if HAS_TURN.get() {
            return Err(Error::NestedBuild);
        }
        let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        HAS_TURN.set(true);
        Ok(Self { _guard: guard })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_one_turn_and_gives_it_back() {
        let turn = Turn::wait().expect("the first turn");
        assert!(matches!(Turn::wait(), Err(Error::NestedBuild)));
        let other = std::thread::spawn(|| Turn::wait().map(drop));
        drop(turn);
        other.join().expect("no panic").expect("its turn");
        Turn::wait().expect("another turn");
    }
}
