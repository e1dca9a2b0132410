//! The memory an engine takes, from its manifest.

use super::report::{Basis, Report};
use crate::commands::inspect::engine::read_manifest;
use anyhow::Result;
use std::path::Path;
use trtforge_builder::ByteSize;

/// An engine's plan.
pub fn plan(path: &Path, budget: Option<ByteSize>) -> Result<Report> {
    let manifest = read_manifest(path)?;
    let memory = &manifest.memory;
    let classes = [memory.weights_bytes, memory.activation_bytes, memory.io_bytes];
    let report = Report::new(path.to_owned(), Basis::Engine, classes, budget);
    Ok(Report { activation: manifest.activation, ..report })
}
