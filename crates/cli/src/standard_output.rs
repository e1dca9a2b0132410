//! The only way data reaches stdout.
//!
//! `println!` panics when the reader has gone (`trtforge inspect .. | head`); these functions report it as [`Closed`],
//! which ends the program quietly.

use anyhow::{Context, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Whoever read our stdout has closed it.
#[derive(Debug, thiserror::Error)]
#[error("stdout was closed")]
pub struct Closed;

/// Writes a whole report.
///
/// # Errors
/// [`Closed`] when the reader has gone, else the I/O error.
pub fn write(data: impl AsRef<[u8]>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(data.as_ref()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(error).context("cannot write to stdout"),
    }
}

/// Writes a report as one indented JSON document.
///
/// # Errors
/// As [`write()`].
pub fn write_json(report: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    text.push('\n');
    write(text)
}
