//! Two models, the same inputs, the error of every output.

use crate::passes::{freeze_shapes, resolve_shapes};
use crate::prepare::{PrepareOptions, open_samples};
use crate::samples::Samples;
use crate::verify::{Verification, verify};
use crate::{CancelFlag, Error, Progress, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use trtforge_graph::{Model, ValueType};
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
/// [`Error::Model`] where one cannot be read, [`Error::InputsDiffer`] where they do not take the same inputs, those of ONNX Runtime and of the samples.
pub fn compare(options: &CompareOptions, progress: &dyn Progress, cancel: &CancelFlag) -> Result<Verification> {
    let Opened { runtime, reference, candidate, samples } = open(options, progress)?;
    verify(&runtime, &reference, &candidate, &samples, usize::MAX, progress, cancel)
}

/// Both models with the same shapes, and what they are fed.
pub(crate) struct Opened {
    pub runtime: OnnxRuntime,
    pub reference: Model,
    pub candidate: Model,
    pub samples: Samples,
}

pub(crate) fn open(options: &CompareOptions, progress: &dyn Progress) -> Result<Opened> {
    let mut reference = read(&options.reference.model)?;
    let mut candidate = read(&options.candidate)?;
    let shapes = resolve_shapes(&reference, &options.reference.shapes, options.reference.batch)?;
    for note in &shapes.notes {
        progress.note(note);
    }
    freeze_shapes(&mut reference, &shapes);
    check_inputs(&reference, &candidate)?;
    freeze_shapes(&mut candidate, &shapes);
    let samples = open_samples(&options.reference, &options.reference.model, &reference, &shapes)?;
    Ok(Opened { runtime: OnnxRuntime::load()?, reference, candidate, samples })
}

fn read(path: &Path) -> Result<Model> {
    Model::read(path).map_err(|source| Error::model(path, source))
}

/// Refuses models that cannot be fed the same numbers. Their floating-point types may differ; samples are converted.
fn check_inputs(reference: &Model, candidate: &Model) -> Result<()> {
    let (wanted, offered) = (inputs(reference), inputs(candidate));
    for name in wanted.keys().chain(offered.keys()) {
        let sides = [wanted.get(name), offered.get(name)];
        if let [Some(ours), Some(theirs)] = sides
            && fits(ours.as_ref(), theirs.as_ref())
        {
            continue;
        }
        let [reference, candidate] = sides.map(|side| side.map(describe));
        return Err(Error::InputsDiffer { input: name.clone(), reference, candidate });
    }
    Ok(())
}

fn fits(reference: Option<&ValueType>, candidate: Option<&ValueType>) -> bool {
    match (reference, candidate) {
        (Some(ValueType::Tensor(ours)), Some(ValueType::Tensor(theirs))) => {
            let same = ours.element == theirs.element || (ours.element.is_float() && theirs.element.is_float());
            same && ours.shape_agrees(theirs)
        }
        (None, _) | (_, None) => true,
        (ours, theirs) => ours == theirs,
    }
}

fn describe(ty: &Option<ValueType>) -> String {
    ty.as_ref().map_or_else(|| "of unknown type".to_owned(), ValueType::to_string)
}

/// What a caller feeds, by name.
fn inputs(model: &Model) -> BTreeMap<String, Option<ValueType>> {
    let graph = &model.proto().graph;
    let stored: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let fed = graph.input.iter().filter(|input| !stored.contains(input.name()));
    fed.map(|input| (input.name().to_owned(), input.type_.as_ref().and_then(ValueType::from_proto))).collect()
}
