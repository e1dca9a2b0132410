//! The form in which a build lays its network out ([`crate::form`]): found once by builds that are thrown away, and remembered.

mod memory;
mod stages;

pub use memory::FormMemory;

use crate::build::{BuildOptions, InputDigests, Libraries, fingerprint};
use crate::calibration::{CalibrationCache, calibrated_tensors};
use crate::compile::{Watch, compile};
use crate::fit::has_open_batch;
use crate::form::{Choice, LeanForm, Search};
use crate::int8::{Form, Int8Options};
use crate::passes::{PluginNodes, ResolvedShapes};
use crate::precision::Precision;
use crate::prepare::{PrepareOptions, convert_for_memory, prepare, typed_graph};
use crate::quantization::existing::{Existing, recognise};
use crate::samples::SampleSource;
use crate::segments::REVISION;
use crate::stage::{Stage, Timings};
use crate::{CancelFlag, Error, Progress, Result, counted, digest, format_bytes};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use trtforge_graph::{Graph, Model};
use trtforge_onnxruntime::{OnnxRuntime, release_freed_memory};

/// What a network takes least memory with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lean {
    pub(crate) choice: Choice,
    /// Whether depthwise convolutions compute in INT8.
    pub(crate) depthwise: bool,
    /// The batch at which forms were compared, where the model leaves it open.
    pub(crate) batch: Option<u64>,
}

impl Lean {
    /// Has a network laid out like this.
    pub(crate) fn apply(&self, options: &mut PrepareOptions) {
        options.form.clone_from(&self.choice.form);
        options.int8.depthwise = self.depthwise;
    }

    /// What it saves, in words.
    pub(crate) fn note(&self) -> String {
        let Choice { form, bytes, plain_bytes, builds } = &self.choice;
        let (from, to) = (format_bytes(*plain_bytes), format_bytes(*bytes));
        let placement = match form.placement {
            Form::FULL => String::new(),
            placement => format!(", with {placement} in INT8"),
        };
        let at = self.batch.map_or_else(String::new, |batch| format!(" at batch {batch}"));
        let builds = counted(*builds, "build");
        format!("laid out for memory: {from} of weights and activation became {to}{at}{placement} ({builds})")
    }
}

/// The form of an INT8 network, or of one that is cut into stages, that takes least memory: remembered, or found by building with scales that mean nothing. None where
/// that was not asked for, or the network has parts that are not to be touched.
/// A calibration cache names the tensors of the network as it is; those that a form adds and that none of them tells of stay in half precision.
pub(crate) fn find(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Option<Lean>> {
    if !options.lean || (options.prepare.precision != Precision::Int8 && options.stages.is_none()) {
        return Ok(None);
    }
    let stages = options.stages;
    let options = &searched(options)?;
    let key = fingerprint(options, InputDigests::start(&options.prepare).wait()?, libraries);
    let Some(whole) = remembered(options, key.clone(), || search(options, libraries, watch))? else { return Ok(None) };
    let Some(stages) = stages else { return Ok(Some(whole)) };
    remembered(options, digest::of_bytes(format!("{key} {stages} {REVISION}").as_bytes()), || {
        let network = Network::of(&options.prepare, &libraries.onnxruntime, watch.cancel)?;
        network.map(|network| stages::refine(whole, stages, &network, options, libraries, watch)).transpose()
    })
}

fn remembered(
    options: &BuildOptions,
    key: String,
    find: impl FnOnce() -> Result<Option<Lean>>,
) -> Result<Option<Lean>> {
    if let Some(known) = options.forms.recall(&key) {
        return Ok(Some(known));
    }
    let found = find()?;
    if let Some(lean) = &found {
        options.forms.remember(key, lean);
    }
    Ok(found)
}

/// The options with only what a search depends on. Where the batch is all that was asked for, forms are compared at batch 1: what one saves grows with the batch, and
/// one search serves all.
fn searched(options: &BuildOptions) -> Result<BuildOptions> {
    let mut plain = BuildOptions::new(options.prepare.clone(), "");
    plain.workspace = options.workspace;
    plain.auxiliary_streams = options.auxiliary_streams;
    plain.compute_capabilities.clone_from(&options.compute_capabilities);
    plain.forms = Arc::clone(&options.forms);
    let prepare = &mut plain.prepare;
    (prepare.samples, prepare.sample_count, prepare.preprocess) = (SampleSource::Synthetic, None, None);
    prepare.int8 = Int8Options { cache: prepare.int8.cache.clone(), ..Int8Options::default() };
    if prepare.shapes.is_empty() && has_open_batch(&read(&prepare.model)?) {
        prepare.batch = Some(1);
    }
    Ok(plain)
}

fn read(path: &Path) -> Result<Model> {
    Model::read(path).map_err(|source| Error::model(path, source))
}

fn search(options: &BuildOptions, libraries: &Libraries, watch: &Watch<'_>) -> Result<Option<Lean>> {
    let (progress, cancel) = (&**watch.progress, watch.cancel);
    let Some(Network { graph, shapes }) = Network::of(&options.prepare, &libraries.onnxruntime, cancel)? else {
        return Ok(None);
    };
    progress.step("form");
    let cached = cached_tensors(options.prepare.int8.cache.as_deref(), &graph)?;
    let cached = cached.as_ref();
    let judge = |model: &Model| weigh(options, libraries, model, &shapes, cancel);
    let with = |depthwise: bool| {
        let mut prepare = options.prepare.clone();
        prepare.int8.depthwise = depthwise;
        prepare
    };
    let (all, half) = (with(true), with(false));
    let bytes = |prepare: &PrepareOptions| judge(&convert_for_memory(graph.clone(), prepare, Form::FULL, cached)?);
    let depthwise = options.prepare.precision != Precision::Int8
        || !graph.node_ids().any(|node| graph.attribute_int(node, "group").unwrap_or(1) > 1)
        || bytes(&all)? <= bytes(&half)?;
    let prepare = if depthwise { all } else { half };
    let convert = |graph, placement| convert_for_memory(graph, &prepare, placement, cached);
    let choice = Search::new(&graph, &convert, &judge, progress, cancel).choose()?;
    release_freed_memory();
    Ok(Some(Lean { choice, depthwise, batch: options.prepare.batch }))
}

/// A network as the search over forms sees it: in 32 bits, simplified and repaired, its values typed.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    pub(crate) shapes: ResolvedShapes,
}

impl Network {
    /// None where it has plugins, or comes quantized.
    pub(crate) fn of(options: &PrepareOptions, runtime: &OnnxRuntime, cancel: &CancelFlag) -> Result<Option<Self>> {
        let mut options = PrepareOptions { stop_after: Some(Stage::Repair), dump_after: vec![], ..options.clone() };
        options.form = LeanForm::default();
        // Nothing is calibrated, so it need not be there.
        options.int8.cache = None;
        let repaired = prepare(&options, &(), cancel)?;
        if PluginNodes::set_aside(&repaired.model)?.0.is_some() {
            return Ok(None);
        }
        let graph = typed_graph(runtime, repaired.model, "form")?;
        let is_plain = matches!(recognise(&graph), Existing::None);
        Ok(is_plain.then_some(Self { graph, shapes: repaired.shapes }))
    }

    /// The model that TensorRT gets, with scales that mean nothing, for builds that only ask for memory.
    pub(crate) fn laid_out(
        &self,
        options: &PrepareOptions,
        lean: Option<&Lean>,
        progress: &dyn Progress,
    ) -> Result<Model> {
        let cached = cached_tensors(options.int8.cache.as_deref(), &self.graph)?;
        let mut options = options.clone();
        if let Some(lean) = lean {
            lean.apply(&mut options);
        }
        let mut graph = self.graph.clone();
        options.form.restructure(&mut graph, progress)?;
        let converted = convert_for_memory(graph, &options, options.form.placement, cached.as_ref())?;
        let mut graph = Graph::new(converted).map_err(Error::pass("form"))?;
        options.form.band(&mut graph)?;
        graph.into_model().map_err(Error::pass("form"))
    }
}

/// Weights and activation of a model's engine in bytes, from a build that is thrown away.
pub(crate) fn weigh(
    options: &BuildOptions,
    libraries: &Libraries,
    model: &Model,
    shapes: &ResolvedShapes,
    cancel: &CancelFlag,
) -> Result<u64> {
    let silent: Arc<dyn Progress> = Arc::new(());
    let watch = Watch { progress: &silent, cancel };
    let compile_options = options.compile_options();
    let compiled = compile(&libraries.tensorrt, model, shapes, &compile_options, &mut Timings::default(), &watch)?;
    Ok(compiled.memory.weights_bytes.unwrap_or_default() + compiled.memory.activation_bytes.unwrap_or_default())
}

/// The tensors of a calibration cache: those of its file, or those that it will have once it is written.
fn cached_tensors(cache: Option<&Path>, graph: &Graph) -> Result<Option<HashSet<String>>> {
    Ok(match cache {
        Some(cache) if cache.exists() => {
            Some(CalibrationCache::read(cache)?.entries().iter().map(|(tensor, _)| tensor.clone()).collect())
        }
        Some(_) => Some(calibrated_tensors(graph).into_iter().collect()),
        None => None,
    })
}
