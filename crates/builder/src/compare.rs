//! Two models, the same inputs, the error of every output.

use crate::passes::{freeze_shapes, resolve_shapes};
use crate::prepare::{PrepareOptions, open_samples};
use crate::verify::{Verification, verify};
use crate::{CancelFlag, Error, Progress, Result};
use std::path::{Path, PathBuf};
use trtforge_graph::Model;
use trtforge_onnxruntime::OnnxRuntime;

/// A comparison.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The reference; its path, shapes and samples are those of these options.
    pub reference: PrepareOptions,
    /// The model to judge.
    pub candidate: PathBuf,
}

/// Runs both models on the same samples.
///
/// # Errors
/// [`Error::Model`] where one cannot be read, those of ONNX Runtime and of the samples.
pub fn compare(options: &CompareOptions, progress: &dyn Progress, cancel: &CancelFlag) -> Result<Verification> {
    let mut reference = read(&options.reference.model)?;
    let mut candidate = read(&options.candidate)?;
    let shapes = resolve_shapes(&reference, &options.reference.shapes, options.reference.batch)?;
    for note in &shapes.notes {
        progress.note(note);
    }
    freeze_shapes(&mut reference, &shapes);
    freeze_shapes(&mut candidate, &shapes);
    let samples = open_samples(&options.reference, &options.reference.model, &reference, &shapes)?;
    verify(&OnnxRuntime::load()?, &reference, &candidate, &samples, progress, cancel)
}

fn read(path: &Path) -> Result<Model> {
    Model::read(path).map_err(|source| Error::model(path, source))
}
