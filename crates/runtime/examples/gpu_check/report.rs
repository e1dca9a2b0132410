//! What was checked and what came of it, as one JSON document.

use serde::Serialize;
use serde_json::{Value, json};

/// One check of one engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The engine's file.
    pub engine: String,
    /// Whether it is as wanted.
    pub passed: bool,
    /// What was found.
    pub measured: Value,
    /// What it should be; null where a figure is only told.
    pub wanted: Value,
}

/// The name of a check, with the engine that it is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    pub engine: &'s str,
    pub name: &'s str,
}

impl Subject<'_> {
    fn check(self, passed: bool, measured: Value, wanted: Value) -> Check {
        Check { name: self.name.to_owned(), engine: self.engine.to_owned(), passed, measured, wanted }
    }

    /// That a figure is at least so large. What is no number is not.
    pub fn at_least(self, measured: f64, wanted: f64) -> Check {
        let shown = if measured.is_finite() { json!(measured) } else { json!(measured.to_string()) };
        self.check(measured >= wanted, shown, json!({ "at_least": wanted }))
    }

    /// That a figure is at most so large.
    pub fn at_most(self, measured: f64, wanted: f64) -> Check {
        let shown = if measured.is_finite() { json!(measured) } else { json!(measured.to_string()) };
        self.check(measured <= wanted, shown, json!({ "at_most": wanted }))
    }

    /// That two things are the same.
    pub fn equal(self, measured: impl Into<Value>, wanted: impl Into<Value>) -> Check {
        let (measured, wanted) = (measured.into(), wanted.into());
        self.check(measured == wanted, measured, wanted)
    }

    /// A figure of which nothing is wanted.
    pub fn told(self, measured: impl Into<Value>) -> Check {
        self.check(true, measured.into(), Value::Null)
    }

    /// A check that did not come to its end.
    pub fn failed(self, error: &dyn std::error::Error) -> Check {
        let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
        let text = causes.fold(error.to_string(), |text, cause| match text.ends_with(&cause) {
            true => text,
            false => format!("{text}: {cause}"),
        });
        self.check(false, json!({ "error": text }), json!("no error"))
    }
}

/// Everything that was checked.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The GPU; nothing where there is none.
    pub gpu: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// The process's exit code: 0 when all is as wanted, 1 when something is not or nothing was checked, 3 without a GPU.
    pub fn exit_code(&self) -> u8 {
        match &self.gpu {
            None => 3,
            Some(_) => u8::from(self.checks.is_empty() || self.checks.iter().any(|check| !check.passed)),
        }
    }
}
