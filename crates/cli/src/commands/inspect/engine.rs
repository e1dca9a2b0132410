//! An engine, as its manifest describes it.
//!
//! The engine itself is opaque without a GPU; what can be checked here is that it is the file the manifest speaks of.

use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::standard_output;
use crate::table::{Table, pairs};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use trtforge_builder::{Manifest, counted, format_bytes};

/// What is told about an engine.
#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    path: PathBuf,
    bytes: u64,
    /// Absent when it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_matches_manifest: Option<bool>,
    manifest: Manifest,
}

/// Prints an engine's report.
pub fn inspect(path: &Path, verify: bool, json: JsonArgs) -> Result<()> {
    let manifest = read_manifest(path)?;
    let bytes = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    refuse_other_length(path, bytes, &manifest)?;
    if verify {
        refuse_other_content(path, &manifest)?;
    }
    let report = Report {
        kind: "engine",
        path: path.to_owned(),
        bytes,
        content_matches_manifest: verify.then_some(true),
        manifest,
    };
    match json.json {
        true => standard_output::write_json(&report),
        false => standard_output::write(report.text()),
    }
}

/// The manifest beside an engine.
///
/// # Errors
/// When there is none, or it is damaged.
pub fn read_manifest(engine: &Path) -> Result<Manifest> {
    let path = Manifest::path_for(engine);
    if !path.exists() {
        bail!(
            Failure::input(format!("{} has no manifest beside it ({})", engine.display(), path.display()))
                .hint("copy the .engine.json along with the engine; engines of other tools have none")
        );
    }
    Ok(Manifest::read(&path)?)
}

/// Refuses an engine that is not as long as its manifest says.
///
/// # Errors
/// When it is not.
pub fn refuse_other_length(path: &Path, bytes: u64, manifest: &Manifest) -> Result<()> {
    if bytes != manifest.engine.bytes {
        bail!(damaged(path, format!("it has {bytes} bytes and its manifest says {}", manifest.engine.bytes)));
    }
    Ok(())
}

/// Refuses an engine whose content is not what its manifest says.
///
/// # Errors
/// When it is not, or cannot be read.
pub fn refuse_other_content(path: &Path, manifest: &Manifest) -> Result<()> {
    let digest = trtforge_builder::digest::of_file(path)?;
    if digest != manifest.engine.sha256 {
        bail!(damaged(
            path,
            format!("its content has SHA-256 {digest} and its manifest says {}", manifest.engine.sha256)
        ));
    }
    Ok(())
}

fn damaged(path: &Path, why: String) -> Failure {
    Failure::input(format!("{} is damaged, or its manifest belongs to another engine: {why}", path.display()))
        .hint("copy both files again, or build the engine again with --force")
}

impl Report {
    fn text(&self) -> String {
        let mut text = self.summary();
        text += &self.shapes();
        text += &self.memory();
        text += &self.accuracy();
        text += &self.kept();
        text
    }

    fn summary(&self) -> String {
        let manifest = &self.manifest;
        let nodes = &manifest.precision.nodes;
        let capabilities = match manifest.compute_capabilities.as_slice() {
            [] => "TensorRT's default".to_owned(),
            some => some.join(", "),
        };
        let checked = match self.content_matches_manifest {
            Some(true) => " (content checked)",
            _ => "",
        };
        pairs(&[
            ("engine", format!("{}  {}{checked}", self.path.display(), format_bytes(self.bytes))),
            ("model", format!("{} (opset {})", manifest.model.path.display(), manifest.model.opset)),
            ("TensorRT", format!("{} {}", manifest.tensorrt.flavour, manifest.tensorrt.version)),
            ("compute capability", capabilities),
            (
                "precision",
                format!(
                    "{}: {} fp32, {} fp16, {} int8",
                    manifest.precision.requested,
                    counted(nodes.fp32, "node"),
                    nodes.fp16,
                    nodes.int8
                ),
            ),
            ("workspace limit", format_bytes(manifest.workspace_bytes)),
            ("built by", format!("trtforge {}", manifest.trtforge)),
        ])
    }

    fn shapes(&self) -> String {
        let mut table = Table::new(&["INPUT", "MIN", "OPT", "MAX"]);
        for (input, range) in &self.manifest.shapes {
            table.row([input.clone(), range.min.to_string(), range.opt.to_string(), range.max.to_string()]);
        }
        section(&table)
    }

    fn memory(&self) -> String {
        let memory = &self.manifest.memory;
        let mut table = Table::new(&["MEMORY", ">BYTES", ""]);
        for (class, bytes) in [
            ("weights", memory.weights_bytes),
            ("activation", memory.activation_bytes),
            ("inputs and outputs", memory.io_bytes),
            ("total", memory.total_bytes),
        ] {
            table.row([class.to_owned(), bytes.to_string(), format_bytes(bytes)]);
        }
        section(&table)
    }

    fn accuracy(&self) -> String {
        let mut table = Table::new(&crate::accuracy::HEADERS);
        for output in &self.manifest.accuracy {
            table.row(crate::accuracy::cells(output));
        }
        section(&table)
    }

    fn kept(&self) -> String {
        match self.manifest.precision.kept.len() {
            0 => String::new(),
            count => format!("\n{} kept in a higher precision; --json lists them\n", counted(count, "node")),
        }
    }
}

fn section(table: &Table) -> String {
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}
