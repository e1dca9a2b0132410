//! The rewrite alone: a model in, a rewritten model out, no engine.

use crate::floor::hold_to_floor;
use crate::output::{OutputLock, check_clashes};
use crate::prepare::{PrepareOptions, Prepared, prepare, typed_graph};
use crate::segments::Divisible;
use crate::segments::bundle::{StageContent, StagedBundle};
use crate::stage::Stage;
use crate::{CancelFlag, Error, Progress, Result};
use std::path::Path;
use trtforge_graph::Model;
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};

/// Rewrites the model of `options` and writes it to `output`; with `stages`, cut into that many segments, each a model of its own beside it, where engines of them are expected to take least. Where `options` ask for an accuracy floor, the result is compared with the FP32 model first.
///
/// # Errors
/// Those of the pipeline; [`Error::Stages`] where there are not as many places to cut; [`Error::AccuracyFloor`] where a floor was asked for and is missed. Nothing is written then.
pub fn quantize(
    options: &PrepareOptions,
    stages: Option<usize>,
    output: &Path,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Prepared> {
    check_clashes(&options.model, &[output.to_owned(), trtforge_graph::data_path(output)])?;
    let _lock = OutputLock::acquire(output)?;
    let prepared = prepare(options, progress, cancel)?;
    cancel.check()?;
    if prepared.is_undecided(options) {
        progress.note("stopped before the conversion: the model is written as it is, in 32 bits");
    }
    if let (Some(floor), None) = (&options.int8.floor, options.stop_after) {
        progress.step(Stage::Verify.name());
        hold_to_floor(options, &prepared, floor, true, progress, cancel)?;
    }
    match stages {
        Some(stages) => write_in_stages(&prepared, stages, output)?,
        None => write_model(&prepared, output, progress)?,
    }
    Ok(prepared)
}

/// Writes a rewritten model cut into that many segments, each a model of its own, for ONNX Runtime to run one after another: `output` names them, and they lie beside
/// it. Cuts are where the engines of the segments are expected to take least; nothing is compiled.
fn write_in_stages(prepared: &Prepared, stages: usize, output: &Path) -> Result<()> {
    let graph = typed_graph(&OnnxRuntime::load()?, prepared.model.clone(), "stages")?;
    let network = Divisible::new(graph, &prepared.shapes);
    let segments = network.cut(stages)?;
    let content = segments.iter().map(StageContent::model);
    StagedBundle::write(output, &network, content)?.commit()
}

/// Writes a rewritten model for others to use, and says what they should know.
pub(crate) fn write_model(prepared: &Prepared, output: &Path, progress: &dyn Progress) -> Result<()> {
    prepared.model.write(output).map_err(|source| Error::model(output, source))?;
    if prepared.decision.is_some() && is_fused_wrongly(&prepared.model)? {
        progress.note(
            "ONNX Runtime opens this model only with session.disable_quant_qdq=1 or basic graph optimisation: by default it fuses pairs into operators \
             that take no half-precision scales",
        );
    }
    Ok(())
}

/// Whether ONNX Runtime refuses a model as it opens one by default, and takes it without integer kernels.
fn is_fused_wrongly(model: &Model) -> Result<bool> {
    let runtime = OnnxRuntime::load()?;
    let opens = |integer_kernels| {
        let config = SessionConfig { integer_kernels, ..SessionConfig::default() };
        runtime.session(model, &config).is_ok()
    };
    Ok(!opens(true) && opens(false))
}
