//! What a file is, told by its first bytes and never by its name.

use crate::failure::Failure;
use anyhow::{Result, bail};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What a command was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A serialised TensorRT engine, or a bundle of them.
    Engine,
    /// A TensorRT calibration cache.
    Cache,
    /// Anything else: the ONNX reader says what is wrong if it is not a model.
    Model,
}

/// How engines begin: TensorRT-RTX's, TensorRT's, and those of TensorRT before version 8.
const ENGINE_MAGIC: [&[u8]; 3] = [b"vtrt", b"ftrt", b"ptrt"];

/// How a bundle of a network in stages begins.
const BUNDLE_MAGIC: &[u8] = b"{\"trtforge_bundle\"";

/// How a calibration cache begins.
const CACHE_MAGIC: &[u8] = b"TRT-";

/// Looks into the file.
///
/// # Errors
/// When it cannot be read, is a folder, or is something these commands are often given by mistake.
pub fn of(path: &Path) -> Result<FileKind> {
    let head = head(path).map_err(|error| unreadable(path, error))?;
    if ENGINE_MAGIC.iter().any(|magic| head.starts_with(magic)) || head.starts_with(BUNDLE_MAGIC) {
        return Ok(FileKind::Engine);
    }
    if head.starts_with(CACHE_MAGIC) {
        return Ok(FileKind::Cache);
    }
    if is_our_engine(path) {
        let message = format!(
            "{} is damaged: it has an engine's manifest beside it but does not begin like an engine",
            path.display()
        );
        bail!(Failure::input(message).hint("build the engine again with --force"));
    }
    if head.starts_with(b"{") && head.windows(8).any(|window| window == b"\"schema\"") {
        bail!(
            Failure::input(format!("{} is a manifest, not an engine", path.display()))
                .hint("give the engine it lies beside")
        );
    }
    Ok(FileKind::Model)
}

/// A cache where a command needs a model or an engine.
pub fn cache_refused(path: &Path) -> Failure {
    Failure::input(format!("{} is a calibration cache, not a model", path.display()))
        .hint("`trtforge inspect` shows what is in it")
}

fn is_our_engine(path: &Path) -> bool {
    trtforge_builder::Manifest::path_for(path).is_file()
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that cannot be read is a bad input, not a wrong command line.
fn unreadable(path: &Path, error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::input(format!("no such file: {}", path.display()))
            .hint("check the path; relative paths start at the working directory"),
        _ => Failure::input(format!("cannot read {}", path.display())).because(error),
    }
}
