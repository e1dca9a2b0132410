//! What ONNX Runtime says while it works, kept instead of printed.
//!
//! Left alone, ONNX Runtime writes coloured lines to the standard error stream. Here every session has its own bounded
//! list. The functions given to ONNX Runtime are called from its threads and must never panic or block for long.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ort::logging::{LogLevel, LoggerFunction};

/// Lines kept per session; ONNX Runtime can write one per weight.
const KEPT: usize = 64;

/// How serious a [`Warning`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is slower, or less exact, than it could be.
    Warning,
    /// Something failed.
    Error,
}

/// A line that ONNX Runtime wanted to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// How serious it is.
    pub severity: Severity,
    /// The line.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// The lines of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Warning>>>);

impl Log {
    /// The function that fills this list.
    pub(crate) fn logger(&self) -> LoggerFunction {
        let log = self.clone();
        Arc::new(move |level: LogLevel, _: &str, _: &str, _: &str, message: &str| log.add(level, message))
    }

    /// The lines so far, which are forgotten here.
    pub(crate) fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, level: LogLevel, message: &str) {
        let severity = match level {
            LogLevel::Verbose | LogLevel::Info => return,
            LogLevel::Warning => Severity::Warning,
            LogLevel::Error | LogLevel::Fatal => Severity::Error,
        };
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < KEPT {
            lines.push(Warning { severity, text: message.trim().to_owned() });
        }
    }
}

/// A logger that keeps nothing: the process-wide environment has no one to tell.
pub(crate) fn silent() -> LoggerFunction {
    Arc::new(|_: LogLevel, _: &str, _: &str, _: &str, _: &str| {})
}
