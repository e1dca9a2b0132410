//! Progress of a build, and the way to end it early.
//!
//! TensorRT calls from several threads; a lock lets the receiver be called by one at a time. A
//! panic of the receiver is caught, ends the build and is told in the build's error.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trtx_sys::nvinfer1::IProgressMonitor;

use crate::shim::copied;
use crate::{Error, Result};

/// Whether a build goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End the build at its next step; it then fails with [`Error::Cancelled`].
    Cancel,
}

/// Something that happened in a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent<'a> {
    /// A phase begins.
    Started {
        /// Name of the phase; TensorRT's names change between versions.
        phase: &'a str,
        /// The phase it is part of.
        parent: Option<&'a str>,
        /// Number of its steps.
        steps: u32,
    },
    /// A step of a phase is done.
    Step {
        /// Name of the phase.
        phase: &'a str,
        /// Number of the step, from 0.
        step: u32,
    },
    /// A phase ends, perhaps before all its steps.
    Finished {
        /// Name of the phase.
        phase: &'a str,
    },
}

/// Receives the progress of a build; any closure of this shape is one.
pub trait Progress: Send {
    /// Takes one event and says whether the build goes on.
    ///
    /// Called from TensorRT's threads, one call at a time, while TensorRT waits.
    fn event(&mut self, event: ProgressEvent<'_>) -> Flow;
}

impl<F: FnMut(ProgressEvent<'_>) -> Flow + Send> Progress for F {
    fn event(&mut self, event: ProgressEvent<'_>) -> Flow {
        self(event)
    }
}

struct State {
    receiver: Box<dyn Progress>,
    cancelled: bool,
    panicked: Option<String>,
}

/// The monitor as TensorRT sees it; its configuration must be gone before it goes.
pub(crate) struct Monitor {
    raw: NonNull<IProgressMonitor>,
    state: Box<Mutex<State>>,
}

impl Monitor {
    pub(crate) fn new(receiver: Box<dyn Progress>) -> Result<Self> {
        let state = Box::new(Mutex::new(State { receiver, cancelled: false, panicked: None }));
        let user_data = std::ptr::from_ref(&*state).cast_mut().cast::<c_void>();
        // SAFETY: `user_data` is a boxed state that lives as long as the monitor and is only used
        // by shared reference; the callbacks have the types asked for.
        let raw = unsafe { trtx_sys::trtx_create_progress_monitor(user_data, start, step, finish) };
        let raw = NonNull::new(raw).ok_or(Error::Create { what: "a progress monitor", log: Vec::new() })?;
        Ok(Self { raw, state })
    }

    pub(crate) fn as_ptr(&self) -> *mut IProgressMonitor {
        self.raw.as_ptr()
    }

    /// Forgets what an earlier build left.
    pub(crate) fn reset(&self) {
        let mut state = lock(&self.state);
        state.cancelled = false;
        state.panicked = None;
    }

    /// Why the last build was ended from here, if it was.
    pub(crate) fn verdict(&self) -> Option<Error> {
        let mut state = lock(&self.state);
        if let Some(message) = state.panicked.take() {
            return Some(Error::ProgressPanicked { message });
        }
        state.cancelled.then_some(Error::Cancelled)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // SAFETY: made by the matching function, destroyed once; by this type's contract no
        // configuration points to it any more.
        unsafe { trtx_sys::trtx_destroy_progress_monitor(self.raw.as_ptr()) };
    }
}

/// Locks a state that is whole at every point where a receiver may panic.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands one event to the receiver; says whether the build goes on.
fn dispatch(state: &Mutex<State>, event: ProgressEvent<'_>) -> bool {
    let mut state = lock(state);
    if state.panicked.is_some() || state.cancelled {
        return false;
    }
    let receiver = &mut state.receiver;
    match catch_unwind(AssertUnwindSafe(|| receiver.event(event))) {
        Ok(Flow::Continue) => true,
        Ok(Flow::Cancel) => {
            state.cancelled = true;
            false
        }
        Err(panic) => {
            state.panicked = Some(message(panic.as_ref()));
            // Dropping a payload may panic again, which nothing above could catch.
            std::mem::forget(panic);
            false
        }
    }
}

/// The text of a panic.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// # Safety
/// `user_data` is the state of a living [`Monitor`]; the strings are null or zero-terminated.
unsafe extern "system" fn start(user_data: *mut c_void, phase: *const c_char, parent: *const c_char, steps: i32) {
    // SAFETY: by contract.
    let (state, phase, parent) = unsafe { (state_of(user_data), copied(phase), copied(parent)) };
    let event = ProgressEvent::Started {
        phase: phase.as_deref().unwrap_or_default(),
        parent: parent.as_deref(),
        steps: steps.max(0).unsigned_abs(),
    };
    dispatch(state, event);
}

/// # Safety
/// As for [`start`].
unsafe extern "system" fn step(user_data: *mut c_void, phase: *const c_char, step: i32) -> bool {
    // SAFETY: by contract.
    let (state, phase) = unsafe { (state_of(user_data), copied(phase)) };
    let event = ProgressEvent::Step { phase: phase.as_deref().unwrap_or_default(), step: step.max(0).unsigned_abs() };
    dispatch(state, event)
}

/// # Safety
/// As for [`start`].
unsafe extern "system" fn finish(user_data: *mut c_void, phase: *const c_char) {
    // SAFETY: by contract.
    let (state, phase) = unsafe { (state_of(user_data), copied(phase)) };
    let event = ProgressEvent::Finished { phase: phase.as_deref().unwrap_or_default() };
    dispatch(state, event);
}

/// # Safety
/// `user_data` is the state of a [`Monitor`] that lives for `'a`.
unsafe fn state_of<'a>(user_data: *mut c_void) -> &'a Mutex<State> {
    // SAFETY: by contract.
    unsafe { &*user_data.cast::<Mutex<State>>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_of(monitor: &Monitor, number: i32) -> bool {
        let user_data = std::ptr::from_ref(&*monitor.state).cast_mut().cast();
        // SAFETY: the monitor lives, the string is terminated.
        unsafe { step(user_data, c"phase".as_ptr(), number) }
    }

    #[test]
    fn a_receiver_ends_a_build_once_and_is_not_asked_again() {
        let mut calls = 0;
        let (sender, receiver) = std::sync::mpsc::channel();
        let monitor = Monitor::new(Box::new(move |event: ProgressEvent<'_>| {
            calls += 1;
            sender.send(calls).expect("the test listens");
            match event {
                ProgressEvent::Step { step: 1, .. } => Flow::Cancel,
                _ => Flow::Continue,
            }
        }))
        .expect("a monitor");
        assert!(step_of(&monitor, 0));
        assert!(!step_of(&monitor, 1));
        assert!(!step_of(&monitor, 2));
        assert_eq!(receiver.try_iter().last(), Some(2));
        assert!(matches!(monitor.verdict(), Some(Error::Cancelled)));
        monitor.reset();
        assert!(monitor.verdict().is_none());
        assert!(step_of(&monitor, 0));
    }

    #[test]
    fn a_panic_ends_the_build_and_its_message_is_kept() {
        let monitor = Monitor::new(Box::new(|_: ProgressEvent<'_>| panic!("out of {}", "paper"))).expect("a monitor");
        assert!(!step_of(&monitor, 0));
        let verdict = monitor.verdict().expect("a verdict");
        assert_eq!(verdict.to_string(), "the progress callback panicked: out of paper");
    }
}
