//! Runs the FP32 model and a candidate on the same inputs and measures every output.
//!
//! A half-precision candidate runs as its emulation (`passes::emulate_half`), because ONNX Runtime would otherwise compute it in 32 bits and find no error. A quantized
//! model runs without ONNX Runtime's optimisations, which would change what is rounded where.

use crate::int8::Loss;
use crate::manifest::OutputAccuracy;
use crate::metrics::ErrorSums;
use crate::passes::emulate_half;
use crate::samples::{SampleInput, Samples, pack};
use crate::{CancelFlag, Error, Progress, Result};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::{ElementType, Graph, Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, Optimization, Session, SessionConfig};

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// One entry per output that could be compared, in the reference's order.
    pub outputs: Vec<OutputAccuracy>,
    /// Outputs that could not be compared, and why.
    pub notes: Vec<String>,
    /// Number of samples.
    pub samples: usize,
}

/// Compares `candidate` with `reference` on `samples`, on `most` of them at most, evenly spread.
///
/// # Errors
/// Those of ONNX Runtime and of the samples; [`Error::Cancelled`].
pub fn verify(
    runtime: &OnnxRuntime,
    reference: &Model,
    candidate: &Model,
    samples: &Samples,
    most: usize,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Verification> {
    let mut reference = runtime.session(reference, &faithful(reference))?;
    let candidate = runnable(runtime, candidate)?;
    let mut candidate = runtime.session(&candidate, &faithful(&candidate))?;
    let (mut sums, mut tally, mut compared) = (Sums::default(), samples.tally(), 0);
    for (position, index) in samples.spread(most).enumerate() {
        cancel.check()?;
        let batch = samples.get(index)?;
        tally.add(batch.unreadable, progress)?;
        if batch.rows == 0 {
            continue;
        }
        compared += 1;
        let inputs = batch.inputs;
        let expected = run(&mut reference, &inputs)?;
        let inputs = as_wanted(&candidate, inputs)?;
        let actual = run(&mut candidate, &inputs)?;
        sums.loss.add(&expected, &actual);
        let actual: HashMap<String, Tensor> = actual.into_iter().collect();
        for (name, tensor) in expected {
            sums.add(name, &tensor, &actual);
        }
        progress.advance("samples compared", position as u64 + 1, samples.len().min(most) as u64);
    }
    Ok(sums.finish(compared))
}

/// How a model is run so that its numbers are those it describes. ONNX Runtime moves, merges and fuses Q/DQ pairs where it may rewrite a model, so a quantized one is
/// run as it stands; the others may be simplified.
pub(crate) fn faithful(model: &Model) -> SessionConfig {
    let quantized = |op: &str| {
        matches!(op, "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear") || op.starts_with("QLinear")
    };
    let optimization = match model.proto().graph.node.iter().any(|node| quantized(node.op_type())) {
        true => Optimization::Disabled,
        false => Optimization::Basic,
    };
    SessionConfig { optimization, ..SessionConfig::default() }
}

/// The form of a model that shows its rounding on a CPU.
pub(crate) fn runnable(runtime: &OnnxRuntime, candidate: &Model) -> Result<Model> {
    let mut graph = Graph::new(candidate.clone()).map_err(Error::pass("verify"))?;
    graph.set_types(runtime.infer_types(candidate)?);
    Ok(emulate_half(&graph, candidate)?.unwrap_or_else(|| candidate.clone()))
}

/// The same numbers in the element types that a model wants, which may have half-precision inputs where the reference has none.
pub(crate) fn as_wanted(session: &Session, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>> {
    let wanted: HashMap<&str, ElementType> =
        session.inputs().iter().map(|input| (input.name.as_str(), input.ty.element)).collect();
    let convert = |(name, tensor): (String, Tensor)| match wanted.get(name.as_str()) {
        Some(&element) if element != tensor.element && element.is_float() => {
            let values = tensor.to_vec_f32().map_err(|error| Error::Samples(format!("input `{name}`: {error}")))?;
            let input = SampleInput { name: name.clone(), element, shape: tensor.shape.clone() };
            Ok((name, pack(&input, values)?))
        }
        _ => Ok((name, tensor)),
    };
    inputs.into_iter().map(convert).collect()
}

fn run(session: &mut Session, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>> {
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Ok(session.run(&borrowed, None)?)
}

#[derive(Default)]
struct Sums {
    order: Vec<String>,
    by_output: HashMap<String, ErrorSums>,
    notes: BTreeMap<String, String>,
    loss: Loss,
}

impl Sums {
    fn add(&mut self, name: String, expected: &Tensor, candidate: &HashMap<String, Tensor>) {
        let reason = match candidate.get(&name) {
            None => "the candidate has no such output".to_owned(),
            Some(actual) if actual.shape != expected.shape => {
                format!("its shape depends on the data: {:?} against {:?}", actual.shape, expected.shape)
            }
            Some(actual) => match (expected.to_vec_f32(), actual.to_vec_f32()) {
                (Ok(expected), Ok(actual)) => {
                    if !self.by_output.contains_key(&name) {
                        self.order.push(name.clone());
                    }
                    return self.by_output.entry(name).or_default().add(&expected, &actual);
                }
                _ => format!("its type {} is not numeric", expected.element),
            },
        };
        self.notes.insert(name.clone(), format!("output `{name}` was not compared: {reason}"));
    }

    fn finish(self, samples: usize) -> Verification {
        let channels: HashMap<&str, f64> = self.loss.channels_by_output().collect();
        let outputs = self.order.iter().map(|name| {
            let channel_db = channels.get(name.as_str()).copied().filter(|decibel| decibel.is_finite());
            OutputAccuracy { channel_db, ..self.by_output[name].finish(name) }
        });
        let outputs = outputs.collect();
        Verification { outputs, notes: self.notes.into_values().collect(), samples }
    }
}
