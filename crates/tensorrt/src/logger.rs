//! TensorRT's log: kept in memory, tail attached to errors, memory figures read out of it.
//!
//! TensorRT keeps a process-wide pointer to the first logger it was given and may use it for as long
//! as any of its objects lives, so a logger is never freed: it is leased to one builder or runtime
//! and used again when all objects of that one are gone. A panic in a listener is caught here.

use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use trtx_sys::RustLoggerBridge;

use crate::memory_totals::MemoryLog;
use crate::{Error, Result};

/// How serious a log line is, most serious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// TensorRT cannot go on.
    InternalError,
    /// An operation failed.
    Error,
    /// Something a person may want to know.
    Warning,
    /// Progress.
    Info,
    /// Details for whoever debugs TensorRT.
    Verbose,
}

impl Severity {
    fn from_number(number: i32) -> Self {
        match number {
            i32::MIN..=0 => Self::InternalError,
            1 => Self::Error,
            2 => Self::Warning,
            3 => Self::Info,
            _ => Self::Verbose,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::InternalError => "internal error",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Verbose => "verbose",
        })
    }
}

/// One line that TensorRT logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How serious it is.
    pub severity: Severity,
    /// The text, without a line end.
    pub text: String,
}

impl fmt::Display for LogLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.severity, self.text)
    }
}

/// Receives each kept line as it is logged, on whichever thread TensorRT logs from.
pub(crate) type Listener = Box<dyn FnMut(&LogLine) + Send>;

/// Lines kept; older ones are forgotten.
const LINES_KEPT: usize = 1000;
/// Lines attached to an error.
const LINES_OF_AN_ERROR: usize = 30;
/// TensorRT's remark about there being several loggers, which is how this module works.
const SEVERAL_LOGGERS: &str = "differs from one already";

#[derive(Default)]
struct State {
    lines: VecDeque<LogLine>,
    /// Lines ever kept, forgotten ones included.
    count: usize,
    memory: MemoryLog,
}

impl State {
    fn keep(&mut self, line: LogLine) {
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.count += 1;
    }
}

/// A logger as TensorRT sees it, with what it received.
struct Logger {
    bridge: NonNull<RustLoggerBridge>,
    state: Mutex<State>,
    listener: Mutex<Option<Listener>>,
}

// SAFETY: `bridge` is made once, never freed and never changed; TensorRT requires loggers to take
// calls from any thread, and the callback locks what it changes.
unsafe impl Send for Logger {}
// SAFETY: as for `Send`.
unsafe impl Sync for Logger {}

/// Loggers that no builder or runtime uses now.
static IDLE: Mutex<Vec<&'static Logger>> = Mutex::new(Vec::new());

/// The use of one logger; it goes back to the idle ones when dropped.
///
/// Holders keep it until every TensorRT object that got its pointer is destroyed.
pub(crate) struct LoggerLease(&'static Logger);

impl LoggerLease {
    /// A logger for the objects of one builder or runtime.
    pub(crate) fn new() -> Result<Self> {
        let idle = lock(&IDLE).pop();
        let logger = idle.map_or_else(create, Ok)?;
        *lock(&logger.state) = State::default();
        Ok(Self(logger))
    }

    /// The pointer TensorRT's entry points want: an `ILogger*`, alive for the rest of the process.
    pub(crate) fn interface(&self) -> *mut c_void {
        // SAFETY: the bridge is alive: it is never freed.
        unsafe { trtx_sys::get_logger_interface(self.0.bridge.as_ptr()) }
    }

    /// Sends each further line to `listener` too.
    pub(crate) fn listen(&self, listener: Option<Listener>) {
        *lock(&self.0.listener) = listener;
    }

    /// Forgets lines and figures, at the start of something that is reported by itself.
    pub(crate) fn clear(&self) {
        *lock(&self.0.state) = State::default();
    }

    /// Every kept line, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        lock(&self.0.state).lines.iter().cloned().collect()
    }

    /// The memory figures seen since the last [`Self::clear`].
    pub(crate) fn memory(&self) -> MemoryLog {
        lock(&self.0.state).memory.clone()
    }

    /// A point in the log, for [`Self::tail_since`].
    pub(crate) fn mark(&self) -> LogMark {
        LogMark(lock(&self.0.state).count)
    }

    /// What is worth attaching to an error of something that began at `mark`: the last serious
    /// lines since then, or the last of any kind.
    pub(crate) fn tail_since(&self, mark: LogMark) -> Vec<LogLine> {
        let state = lock(&self.0.state);
        let new = state.count.saturating_sub(mark.0).min(state.lines.len());
        let lines = || state.lines.iter().skip(state.lines.len() - new);
        let serious: Vec<&LogLine> = lines().filter(|line| line.severity <= Severity::Warning).collect();
        if serious.is_empty() {
            return last(lines());
        }
        last(serious.into_iter())
    }

    /// As [`Self::tail_since`], over all that is kept.
    pub(crate) fn tail(&self) -> Vec<LogLine> {
        self.tail_since(LogMark(0))
    }
}

/// A point in a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogMark(usize);

impl Drop for LoggerLease {
    fn drop(&mut self) {
        self.listen(None);
        lock(&IDLE).push(self.0);
    }
}

/// The last few of some lines.
fn last<'a>(lines: impl ExactSizeIterator<Item = &'a LogLine>) -> Vec<LogLine> {
    let skipped = lines.len().saturating_sub(LINES_OF_AN_ERROR);
    lines.skip(skipped).cloned().collect()
}

/// Makes a logger that lives for the rest of the process.
fn create() -> Result<&'static Logger> {
    let logger = Box::leak(Box::new(Logger {
        bridge: NonNull::dangling(),
        state: Mutex::default(),
        listener: Mutex::default(),
    }));
    let user_data = std::ptr::from_mut(logger).cast::<c_void>();
    // SAFETY: `user_data` is the leaked logger, which outlives every call of the callback. The
    // callback is not called before the bridge is handed to TensorRT, which happens after the
    // write to `bridge` below.
    let bridge = unsafe { trtx_sys::create_rust_logger_bridge(receive, user_data) };
    let Some(bridge) = NonNull::new(bridge) else {
        return Err(Error::Create { what: "a logger", log: Vec::new() });
    };
    let logger = user_data.cast::<Logger>();
    // SAFETY: nobody else knows the logger yet, so writing through and then sharing it is sound.
    unsafe {
        (*logger).bridge = bridge;
        Ok(&*logger)
    }
}

/// Called by TensorRT, on any thread, for every line it logs.
///
/// # Safety
/// `user_data` is a leaked [`Logger`]; `message` is null or a zero-terminated string.
unsafe extern "C" fn receive(user_data: *mut c_void, severity: i32, message: *const c_char) {
    // A panic must not cross into C++; the line was kept by then.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if message.is_null() {
            return;
        }
        // SAFETY: by contract a logger that is never freed and only used by shared reference.
        let logger = unsafe { &*user_data.cast::<Logger>() };
        // SAFETY: not null, and by contract a zero-terminated string.
        let text = unsafe { CStr::from_ptr(message) };
        logger.take(Severity::from_number(severity), text);
    }));
    if let Err(panic) = outcome {
        // Dropping a payload may panic again, which nothing above could catch.
        std::mem::forget(panic);
    }
}

impl Logger {
    fn take(&self, severity: Severity, text: &CStr) {
        let text = text.to_string_lossy();
        if text.contains(SEVERAL_LOGGERS) {
            return;
        }
        let line = LogLine { severity, text: text.trim_end().to_owned() };
        {
            let mut state = lock(&self.state);
            state.memory.read(&line.text);
            if severity == Severity::Verbose {
                return;
            }
            state.keep(line.clone());
        }
        if let Some(listener) = lock(&self.listener).as_mut() {
            listener(&line);
        }
    }
}

/// Locks what stays whole even when a holder panicked: every change under these locks is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lease: &LoggerLease, severity: i32, text: &CStr) {
        let user_data = std::ptr::from_ref(lease.0).cast_mut().cast();
        // SAFETY: a leaked logger and a terminated string.
        unsafe { receive(user_data, severity, text.as_ptr()) };
    }

    #[test]
    fn lines_are_kept_in_order_and_bounded() {
        let lease = LoggerLease::new().expect("a logger");
        for number in 0..LINES_KEPT + 5 {
            let text = std::ffi::CString::new(number.to_string()).expect("no zero byte");
            log(&lease, 3, &text);
        }
        let lines = lease.lines();
        assert_eq!(lines.len(), LINES_KEPT);
        assert_eq!(lines[0].text, "5");
        assert_eq!(lease.tail().len(), LINES_OF_AN_ERROR);
    }

    #[test]
    fn an_error_gets_the_serious_lines() {
        let lease = LoggerLease::new().expect("a logger");
        log(&lease, 1, c"bad news\n");
        let mark = lease.mark();
        log(&lease, 3, c"chatter");
        let expected = LogLine { severity: Severity::Error, text: "bad news".to_owned() };
        assert_eq!(lease.tail(), [expected]);
        let chatter = LogLine { severity: Severity::Info, text: "chatter".to_owned() };
        assert_eq!(lease.tail_since(mark), [chatter]);
        assert_eq!(lease.tail_since(lease.mark()), []);
    }

    #[test]
    fn a_panicking_listener_loses_nothing_and_stays_in_place() {
        let lease = LoggerLease::new().expect("a logger");
        lease.listen(Some(Box::new(|_| panic!("a listener that fails"))));
        log(&lease, 2, c"first");
        log(&lease, 2, c"second");
        assert_eq!(lease.lines().len(), 2);
    }

    #[test]
    fn figures_come_out_of_verbose_lines_too_and_a_new_lease_starts_afresh() {
        let lease = LoggerLease::new().expect("a logger");
        log(&lease, 4, c"Total Weights Memory: 7 bytes");
        assert_eq!(lease.memory().totals.weights_bytes, Some(7));
        assert!(lease.lines().is_empty());
        lease.clear();
        assert_eq!(lease.memory(), MemoryLog::default());
    }

    #[test]
    fn a_null_message_and_unknown_severities_are_taken() {
        let lease = LoggerLease::new().expect("a logger");
        let user_data = std::ptr::from_ref(lease.0).cast_mut().cast();
        // SAFETY: a leaked logger; null is allowed.
        unsafe { receive(user_data, 1, std::ptr::null()) };
        log(&lease, -3, c"odd");
        assert_eq!(lease.lines()[0].severity, Severity::InternalError);
        log(&lease, 99, c"odder");
        assert_eq!(lease.lines().len(), 1);
    }
}
