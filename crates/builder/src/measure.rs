//! What an engine would take, from a build of which only the figures are kept.
//!
//! Figures are remembered under the digest of everything that they depend on, so that the same question is answered at once.

use crate::activation::{ActivationAccount, account};
use crate::build::{InputDigests, Libraries, fingerprint};
use crate::io_bytes::largest_io_bytes;
use crate::lean::{self, Network};
use crate::make::{Made, Parts, make};
use crate::passes::ResolvedShapes;
use crate::precision::Precision;
use crate::prepare::at_largest_shapes;
use crate::samples::SampleSource;
use crate::segments::bundle::{StageContent, StagedBundle};
use crate::stage::Timings;
use crate::written::Written;
use crate::{BuildOptions, CancelFlag, Error, MemoryInfo, Progress, Result, StagedFile, Watch};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use trtforge_graph::Model;
use trtforge_graph::segmentation::SegmentMemory;

/// What the engine of a model takes, and what its activation memory is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// TensorRT's figures; of stages those of the one that takes most.
    pub memory: MemoryInfo,
    /// The account of the activation memory of the network as one engine.
    pub activation: ActivationAccount,
    /// Inputs and outputs of the whole.
    pub io_bytes: u64,
    /// What each stage takes; nothing where there are none.
    pub stages: Vec<SegmentMemory>,
}

/// Memory of the engine that `options` would give. Numbers are left out of it: nothing is calibrated, observed or verified. They change how an engine is laid out by no
/// more than the few nodes that overflow FP16, or that an accuracy floor keeps in it. `cache` is a folder for figures; what cannot be kept there is measured again the
/// next time.
///
/// # Errors
/// Those of a build.
pub fn measure_memory(
    options: &BuildOptions,
    cache: Option<&Path>,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<MemoryInfo> {
    Ok(measure(options, cache, progress, cancel)?.memory)
}

/// As [`measure_memory`], with what the activation memory is made of.
///
/// # Errors
/// Those of a build.
pub fn measure(
    options: &BuildOptions,
    cache: Option<&Path>,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<Measured> {
    let options = measured(options);
    let libraries = Libraries::load()?;
    let mut inputs = InputDigests::start(&options.prepare);
    let fingerprint = fingerprint(&options, inputs.wait()?, &libraries);
    let remembered = cache.map(|folder| folder.join(format!("{fingerprint}.json")));
    if let Some(measured) = remembered.as_deref().and_then(recall) {
        return Ok(measured);
    }
    let measured = measure_with(&options, &libraries, progress, cancel)?;
    if let Some(path) = &remembered {
        // Losing the figures costs a build, not the answer.
        let _ = remember(path, &measured);
    }
    Ok(measured)
}

/// As [`measure`], with what was built for it.
///
/// # Errors
/// Those of a build.
pub fn lay_out(options: &BuildOptions, progress: &Arc<dyn Progress>, cancel: &CancelFlag) -> Result<LaidOut> {
    lay_out_with(&measured(options), &Libraries::load()?, progress, cancel)
}

/// Memory of the engine, with libraries that are there and nothing remembered.
pub(crate) fn measure_with(
    options: &BuildOptions,
    libraries: &Libraries,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<Measured> {
    Ok(lay_out_with(&measured(options), libraries, progress, cancel)?.measured)
}

/// As [`lay_out`], with options that are as they have to be and libraries that are there.
pub(crate) fn lay_out_with(
    options: &BuildOptions,
    libraries: &Libraries,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<LaidOut> {
    let watch = Watch { progress, cancel };
    if options.prepare.precision == Precision::Auto {
        let of = |precision| {
            let mut one = options.clone();
            one.prepare.precision = precision;
            lay_out_with(&one, libraries, progress, cancel)
        };
        let (int8, fp16) = (of(Precision::Int8)?, of(Precision::Fp16)?);
        return Ok(if int8.measured.memory.total_bytes < fp16.measured.memory.total_bytes { int8 } else { fp16 });
    }
    let Some(network) = Network::of(&options.prepare, &libraries.onnxruntime, cancel)? else {
        let Made { prepared, parts, memory, activation, .. } = make(options, libraries, &watch)?;
        return LaidOut::new(prepared.model, &prepared.shapes, parts, memory, activation, libraries);
    };
    let lean = lean::find(options, libraries, &watch)?;
    let model = network.laid_out(&options.prepare, lean.as_ref(), &**progress)?;
    let activation = account(&at_largest_shapes(&libraries.onnxruntime, &model, &network.shapes)?);
    let timings = &mut Timings::default();
    let (parts, memory) = Parts::compile(options, libraries, &model, &network.shapes, timings, &watch)?;
    LaidOut::new(model, &network.shapes, parts, memory, activation, libraries)
}

/// A network that was laid out and built to be measured. Its scales mean nothing, its size and its arithmetic are those of a real build.
pub struct LaidOut {
    /// What it takes.
    pub measured: Measured,
    model: Model,
    parts: Parts,
}

impl LaidOut {
    fn new(
        model: Model,
        shapes: &ResolvedShapes,
        parts: Parts,
        memory: MemoryInfo,
        activation: ActivationAccount,
        libraries: &Libraries,
    ) -> Result<Self> {
        let io_bytes = match &parts {
            Parts::Whole(_) => memory.io_bytes,
            // Those of a stage are something else.
            Parts::Stages(..) => largest_io_bytes(&libraries.onnxruntime, &model, shapes)?.unwrap_or_default(),
        };
        let measured = Measured { memory, activation, io_bytes, stages: parts.stages() };
        Ok(Self { measured, model, parts })
    }

    /// Writes the engine, or the bundle of engines in stages.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn write_engine(&self, output: &Path) -> Result<()> {
        Written::write(output, &self.parts)?.1.commit()
    }

    /// Writes what the engine is made of for ONNX Runtime: a model, or a bundle of models in stages.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_model(&self, output: &Path) -> Result<()> {
        match &self.parts {
            Parts::Whole(_) => self.model.write(output).map_err(|source| Error::model(output, source)),
            Parts::Stages(network, stages) => {
                let content = stages.iter().map(|stage| StageContent::model(&stage.segment));
                StagedBundle::write(output, network, content)?.commit()
            }
        }
    }
}

/// The options without all that does not change how an engine is laid out.
fn measured(options: &BuildOptions) -> BuildOptions {
    let mut options =
        BuildOptions { verify: false, memory_budget: None, accuracy_floor: None, emit_onnx: None, ..options.clone() };
    let prepare = &mut options.prepare;
    (prepare.samples, prepare.sample_count, prepare.preprocess) = (SampleSource::Synthetic, None, None);
    (prepare.observe_ranges, prepare.int8.search) = (false, false);
    options
}

fn recall(path: &Path) -> Option<Measured> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn remember(path: &Path, measured: &Measured) -> Option<()> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    StagedFile::write(path, &serde_json::to_vec(measured).ok()?).ok()?.commit().ok()
}
