//! Locks, conditions and threads of the queue, the responses and the session's worker: the standard library's, or loom's,
//! which tries every order in which threads may come (`make loom`).
//!
//! Loom knows no time: a wait with an end ends only when it is woken there.

#[cfg(all(test, loom))]
pub(crate) use loom::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
#[cfg(not(all(test, loom)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};
