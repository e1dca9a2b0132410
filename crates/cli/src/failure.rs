//! The one place that turns an error into an exit code, a message and a hint.
//!
//! Errors go to stderr, always: `error: what`, `  caused by: why` once per cause, `hint: what to do next`. A command
//! run with `--json` ends in one more line on stderr, the same as a JSON object, so that programs need not read prose.
//! No other file may choose an exit code, and no error may be shown twice.

use serde::Serialize;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

mod classify;

pub use classify::Kind;

/// An error the command line itself finds: its kind is known where it is made.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, cause: None }
    }

    /// The command line asks for something that makes no sense (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A check the user asked for did not hold (exit 1).
    pub fn check(message: impl Into<String>) -> Self {
        Self::new(Kind::CheckFailed, message)
    }

    /// This machine lacks something (exit 3).
    pub fn missing(message: impl Into<String>) -> Self {
        Self::new(Kind::Missing, message)
    }

    /// An input file is not what it should be (exit 4).
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::BadInput, message)
    }

    /// The user stopped the work (exit 130).
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Kind::Interrupted, message)
    }

    /// Adds the error behind it.
    pub fn because(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error as it is shown.
#[derive(Debug, Serialize)]
struct Report {
    kind: Kind,
    exit_code: u8,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Report {
    fn of(error: &anyhow::Error) -> Self {
        let (kind, hint) = classify::classify(error);
        let mut lines: Vec<String> = Vec::new();
        for cause in error.chain() {
            let text = cause.to_string();
            if lines.last().is_none_or(|shown| !shown.ends_with(&text)) {
                lines.push(text);
            }
        }
        let message = lines.remove(0);
        Self { kind, exit_code: kind.exit_code(), message, causes: lines, hint }
    }

    fn text(&self, coloured: bool) -> String {
        let paint = |code: &str, word: &str| match coloured {
            true => format!("\u{1b}[{code}m{word}\u{1b}[0m"),
            false => word.to_owned(),
        };
        let mut text = format!("{} {}\n", paint("1;31", "error:"), continued(&self.message));
        for cause in &self.causes {
            text += &format!("  {} {}\n", paint("1", "caused by:"), continued(cause));
        }
        if let Some(hint) = &self.hint {
            text += &format!("{} {}\n", paint("1;36", "hint:"), continued(hint));
        }
        text
    }
}

/// Further lines of a message are indented, so that the next label stays easy to find.
fn continued(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

/// Shows the error on stderr and returns its exit code.
///
/// A reader that closed our stdout has what it wanted: that ends quietly.
pub fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    if error.chain().any(|cause| cause.is::<crate::standard_output::Closed>()) {
        return ExitCode::SUCCESS;
    }
    let report = Report::of(error);
    let mut text = report.text(colour_on_stderr());
    if json && let Ok(line) = serde_json::to_string(&serde_json::json!({ "error": report })) {
        text += &line;
        text.push('\n');
    }
    let unreported = std::io::stderr().write_all(text.as_bytes());
    drop(unreported);
    ExitCode::from(report.exit_code)
}

/// Colour only on a terminal that can show it, and never against `NO_COLOR`.
pub fn colour_on_stderr() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stderr().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Says that a panic is a bug of ours and how to report it; the exit code stays 101.
pub fn install_panic_hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let mut stderr = std::io::stderr().lock();
        let unreported = writeln!(
            stderr,
            "error: this is a bug in trtforge {}, not in what you asked for\n\
             hint: report it to the project with the command line, the model if it may be shared, \
             and what follows (RUST_BACKTRACE=1 adds where it happened)",
            env!("CARGO_PKG_VERSION")
        );
        drop(unreported);
        drop(stderr);
        usual(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn shows_causes_once_and_the_hint_last() {
        let cause = Failure::input("line one\nline two").hint("try again");
        let error = Err::<(), _>(cause).context("cannot read m.onnx").unwrap_err();
        let report = Report::of(&error);
        assert_eq!(
            report.text(false),
            "error: cannot read m.onnx\n  caused by: line one\n    line two\nhint: try again\n"
        );
        assert_eq!(report.exit_code, 4);
    }

    #[test]
    fn a_cause_already_in_the_message_is_left_out() {
        let error = anyhow::anyhow!("no such file").context("cannot open x: no such file");
        assert_eq!(Report::of(&error).text(false), "error: cannot open x: no such file\n");
    }

    #[test]
    fn colours_only_the_labels() {
        let error = anyhow::Error::new(Failure::check("too big"));
        assert_eq!(Report::of(&error).text(true), "\u{1b}[1;31merror:\u{1b}[0m too big\n");
    }
}
