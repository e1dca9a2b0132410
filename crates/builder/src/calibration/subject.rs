//! What a calibration is about: a model made ready to run, its samples, and what identifies both.

use super::{Binding, CalibrateOptions, Difference, Observation, Pass, calibrated_tensors, observe, save_observation};
use crate::passes::{PluginNodes, resolve_shapes};
use crate::precision::Precision;
use crate::prepare::{PrepareOptions, open_samples, prepare, typed_graph};
use crate::samples::Samples;
use crate::shapes::{NamedShape, Shape, ShapeRequest};
use crate::stage::Stage;
use crate::{CancelFlag, Error, Progress, Result, counted, digest};
use std::collections::BTreeMap;
use std::path::Path;
use trtforge_graph::{Dimension, Graph, Model, ValueType};
use trtforge_onnxruntime::OnnxRuntime;

/// The name of the step in progress.
const STEP: &str = "calibrate";

/// A model made ready, its samples, and what identifies both.
pub(super) struct Subject {
    runtime: OnnxRuntime,
    model: Model,
    graph: Graph,
    /// Tensors that get a histogram, in the order of computation.
    pub(super) tensors: Vec<String>,
    pub(super) samples: Samples,
    /// What identifies model and samples, without a method.
    pub(super) binding: Binding,
}

impl Subject {
    pub(super) fn open(options: &CalibrateOptions, progress: &dyn Progress, cancel: &CancelFlag) -> Result<Subject> {
        let path = options.prepare.model.clone();
        let model_digest = std::thread::spawn(move || digest::of_model(&path));
        let prepare_options = at_batch_one(&options.prepare)?;
        let prepared = prepare(&prepare_options, progress, cancel)?;
        progress.step(STEP);
        let runtime = OnnxRuntime::load()?;
        let model = without_plugins(prepared.model)?;
        let graph = typed_graph(&runtime, model.clone(), STEP)?;
        let tensors = calibrated_tensors(&graph);
        if tensors.is_empty() {
            return Err(Error::NothingToCalibrate { rows: vec![], kept: 0 });
        }
        let samples = open_samples(&prepare_options, &options.prepare.model, &model, &prepared.shapes)?;
        let shapes = prepared.shapes.ranges.into_iter().map(|(input, range)| (input, range.opt)).collect();
        let model_sha256 = model_digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let binding = bind(&prepare_options, model_sha256, &samples, shapes);
        Ok(Subject { runtime, model, graph, tensors, samples, binding })
    }

    /// Runs what is missing and saves everything. Where the pass is stopped, what it saw is saved too.
    pub(super) fn observe(
        &self,
        begun: Observation,
        threads: usize,
        histograms: &Path,
        progress: &dyn Progress,
        cancel: &CancelFlag,
    ) -> Result<Observation> {
        let batches = begun.batches();
        let pass = Pass {
            runtime: &self.runtime,
            graph: &self.graph,
            model: &self.model,
            samples: &self.samples,
            tensors: &self.tensors,
            ranges: true,
            threads,
            checkpoint: &|observation| save_observation(histograms, &self.binding, observation),
            progress,
            cancel,
        };
        let observation = observe(&pass, begun)?;
        if observation.batches() > batches {
            save_observation(histograms, &self.binding, &observation)?;
        }
        if observation.batches() == self.samples.len() {
            return Ok(observation);
        }
        if observation.batches() == 0 {
            return Err(Error::Cancelled);
        }
        Err(Error::CalibrationInterrupted {
            done: observation.samples(),
            total: self.samples.rows(),
            unit: self.samples.unit(),
            path: histograms.to_owned(),
        })
    }

    /// In what an observation was made from something else.
    pub(super) fn differences(&self, binding: &Binding, observation: &Observation) -> Vec<Difference> {
        let mut differences = binding.differences(&self.binding);
        let count = |number: usize| counted(number, "tensor");
        let recorded: Vec<&str> = observation.histograms().map(|(tensor, _)| tensor).collect();
        let mut current: Vec<&str> = self.tensors.iter().map(String::as_str).collect();
        current.sort_unstable();
        if recorded != current {
            let (recorded, current) = (count(recorded.len()), count(current.len()));
            differences.push(Difference { what: "selection of tensors", recorded, current });
        }
        differences
    }
}

/// What identifies a calibration of the model of `options` on `samples`, whatever its batch.
///
/// # Errors
/// Those of reading the model and settling its shapes.
pub fn binding(options: &PrepareOptions, samples: &Samples) -> Result<Binding> {
    let at_one = at_batch_one(options)?;
    let model = Model::read(&options.model).map_err(|source| Error::model(&options.model, source))?;
    let shapes = resolve_shapes(&model, &at_one.shapes, at_one.batch)?.ranges;
    let shapes = shapes.into_iter().map(|(input, range)| (input, range.opt)).collect();
    Ok(bind(options, digest::of_model(&options.model)?, samples, shapes))
}

fn bind(options: &PrepareOptions, model: String, samples: &Samples, shapes: BTreeMap<String, Shape>) -> Binding {
    let preprocess = options.preprocess.clone().unwrap_or_default();
    // Made-up inputs are not what a cache was or could be made from.
    let real = !samples.is_synthetic();
    Binding {
        model_sha256: Some(model),
        data_sha256: real.then(|| digest::of_readable_files(&samples.files())),
        preprocess_sha256: Some(digest::of_bytes(format!("{preprocess:?}").as_bytes())),
        shapes: Some(shapes),
        images: real.then(|| samples.rows()),
        method: None,
    }
}

/// Refuses a model of which a part cannot run here; plugins at its end are left out.
fn without_plugins(model: Model) -> Result<Model> {
    match PluginNodes::set_aside(&model)?.0 {
        Some(plain) if plain.proto().graph.input.len() > model.proto().graph.input.len() => Err(Error::Samples(
            "what plugins write is read by other nodes, and plugins cannot run here, so nothing can be observed".into(),
        )),
        Some(plain) => Ok(plain),
        None => Ok(model),
    }
}

/// The options with every open batch dimension at 1: the first dimension of an input of four, and of every input that shares its symbol. Other shapes stay.
fn at_batch_one(options: &PrepareOptions) -> Result<PrepareOptions> {
    let options = PrepareOptions {
        precision: Precision::Fp32,
        stop_after: Some(Stage::Repair),
        settle_shapes: true,
        ..options.clone()
    };
    let model = Model::read(&options.model).map_err(|source| Error::model(&options.model, source))?;
    // What is wrong with a model that is no graph is told by the step that checks it.
    let Ok(graph) = Graph::new(model.clone()) else { return Ok(options) };
    let batched = batched_inputs(&graph);
    if batched.is_empty() {
        return Ok(options);
    }
    let mut shapes = ShapeRequest::default();
    for (input, range) in resolve_shapes(&model, &options.shapes, options.batch)?.ranges {
        let mut shape = range.opt;
        if batched.contains(&input) {
            shape.0[0] = 1;
        }
        shapes.set_opt(NamedShape { input, shape });
    }
    Ok(PrepareOptions { shapes, batch: None, ..options })
}

/// The inputs whose first dimension is an open batch.
fn batched_inputs(graph: &Graph) -> Vec<String> {
    let shape = |value| match &graph.value(value).ty {
        Some(ValueType::Tensor(ty)) => ty.shape.as_deref(),
        _ => None,
    };
    let shapes: Vec<(String, &[Dimension])> = graph
        .graph_inputs()
        .iter()
        .filter_map(|&input| Some((graph.value(input).name.clone(), shape(input)?)))
        .collect();
    let open = |shape: &[Dimension]| shape.first().filter(|first| first.fixed().is_none()).cloned();
    let pictures = shapes.iter().filter(|(_, shape)| shape.len() == 4);
    let batches: Vec<Dimension> = pictures.filter_map(|(_, shape)| open(shape)).collect();
    let is_batched = |shape: &[Dimension]| {
        let named = |first: &Dimension| matches!(first, Dimension::Symbol(_)) && batches.contains(first);
        open(shape).is_some_and(|first| shape.len() == 4 || named(&first))
    };
    shapes.iter().filter(|(_, shape)| is_batched(shape)).map(|(name, _)| name.clone()).collect()
}
