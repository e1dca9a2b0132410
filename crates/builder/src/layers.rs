//! Two models, the same inputs, the error of every value inside them that both have: where a rewrite starts to go wrong.
//!
//! Values are matched by name, which rewrites keep. They are looked at in groups, each with forward passes of its own, so that never more than one group's tensors are
//! in memory however large the network is; between samples only sums are held.

use crate::compare::{CompareOptions, Opened, open};
use crate::manifest::OutputAccuracy;
use crate::metrics::ErrorSums;
use crate::precision::node_label;
use crate::quantization::is_dequantize;
use crate::samples::{Samples, UnreadableTally};
use crate::verify::{as_wanted, faithful, runnable};
use crate::{CancelFlag, Error, Progress, Result};
use serde::Serialize;
use std::collections::HashSet;
use trtforge_graph::{ElementType, Graph, Model, Producer, Tensor, TensorType, ValueId, ValueType};
use trtforge_onnxruntime::{Observer, OnnxRuntime};

/// Bytes of values that are held at once, both models together.
const GROUP_BYTES: u64 = 64 << 20;

/// What a value without a known shape counts as.
const UNKNOWN_BYTES: u64 = 4 << 20;

/// The error of one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerAccuracy {
    /// The reference's node that makes the value: its name, or its first output where it has none.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The figures; `output` is the value's name.
    #[serde(flatten)]
    pub accuracy: OutputAccuracy,
    /// The candidate's value that stands for it, where that has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<String>,
    /// Whether it is worse than every value before it.
    pub worst_so_far: bool,
}

/// The errors of all values that could be compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LayerReport {
    /// In the reference's running order.
    pub layers: Vec<LayerAccuracy>,
    /// How many floating-point values of the reference the candidate does not have, or in another shape.
    pub unmatched: usize,
    /// Number of samples.
    pub samples: usize,
}

/// Runs both models on the same samples and compares what is inside them.
///
/// The candidate's value is the one of the same name: as it is rounded to half precision where the candidate computes in that, or as its `DequantizeLinear` gives it where
/// the candidate stores it in 8 bits under that name.
///
/// # Errors
/// As for [`crate::compare`].
pub fn compare_layers(options: &CompareOptions, progress: &dyn Progress, cancel: &CancelFlag) -> Result<LayerReport> {
    let Opened { runtime, reference, candidate, samples } = open(options, progress)?;
    layers_between(&runtime, &reference, &candidate, &samples, usize::MAX, progress, cancel)
}

/// Compares what is inside two models on `samples`, on `most` of them at most, evenly spread.
///
/// # Errors
/// Those of ONNX Runtime and of the samples; [`Error::Cancelled`].
pub(crate) fn layers_between(
    runtime: &OnnxRuntime,
    reference: &Model,
    candidate: &Model,
    samples: &Samples,
    most: usize,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<LayerReport> {
    let candidate = &runnable(runtime, candidate)?;
    let (layers, unmatched) = matched(&typed(runtime, reference)?, &typed(runtime, candidate)?);
    let groups = grouped(&layers);
    let (tally, most) = (samples.tally(), samples.len().min(most));
    let mut comparison = Comparison { runtime, reference, candidate, samples, most, tally, progress, cancel, done: 0 };
    let total = (groups.len() * most) as u64;
    let mut accuracies = Vec::with_capacity(layers.len());
    for group in groups {
        accuracies.extend(comparison.run(group, total)?);
    }
    Ok(LayerReport { layers: finish(layers, accuracies), unmatched, samples: most })
}

fn typed(runtime: &OnnxRuntime, model: &Model) -> Result<Graph> {
    let mut graph = Graph::new(model.clone()).map_err(Error::pass("compare-layers"))?;
    graph.set_types(runtime.infer_types(model)?);
    Ok(graph)
}

/// A value of the reference and the candidate's that stands for it.
struct Layer {
    node: String,
    operator: String,
    value: String,
    other: String,
    bytes: u64,
}

/// The values to compare, and how many have no counterpart.
fn matched(reference: &Graph, candidate: &Graph) -> (Vec<Layer>, usize) {
    let (mut layers, mut unmatched) = (Vec::new(), 0);
    let mut dependent: HashSet<ValueId> = reference.graph_inputs().iter().copied().collect();
    for node in reference.node_ids() {
        let mut read = reference.inputs(node).iter().flatten().chain(reference.captures(node));
        if !read.any(|value| dependent.contains(value)) {
            continue;
        }
        dependent.extend(reference.outputs(node).iter().flatten());
        for &value in reference.outputs(node).iter().flatten() {
            let Some(ty) = floating(reference, value) else { continue };
            let Some(other) = counterpart(candidate, &reference.value(value).name, ty) else {
                unmatched += 1;
                continue;
            };
            layers.push(Layer {
                node: node_label(reference, node),
                operator: reference.op_type(node).to_owned(),
                value: reference.value(value).name.clone(),
                other,
                bytes: ty.bytes().map_or(UNKNOWN_BYTES, |bytes| bytes.saturating_mul(2)),
            });
        }
    }
    (layers, unmatched)
}

fn floating(graph: &Graph, value: ValueId) -> Option<&TensorType> {
    use ElementType::{BFloat16, Float16, Float32, Float64};
    let ty = graph.value(value).ty.as_ref().and_then(ValueType::tensor)?;
    matches!(ty.element, Float16 | Float32 | Float64 | BFloat16).then_some(ty)
}

/// The name of the candidate's value that stands for one of the reference.
fn counterpart(candidate: &Graph, name: &str, wanted: &TensorType) -> Option<String> {
    let same = candidate.value_id(name).filter(|&value| is_made(candidate, value))?;
    let fits = |value: &ValueId| floating(candidate, *value).is_some_and(|ty| ty.shape_agrees(wanted));
    let dequantized = || {
        let readers = candidate.value(same).consumers.iter().map(|reader| reader.node);
        readers.filter(|&node| is_dequantize(candidate, node)).find_map(|node| candidate.output(node, 0))
    };
    let found = Some(same).filter(fits).or_else(|| dequantized().filter(fits))?;
    Some(candidate.value(found).name.clone())
}

fn is_made(graph: &Graph, value: ValueId) -> bool {
    matches!(graph.value(value).producer, Producer::Node { .. })
}

/// Consecutive layers whose values fit into [`GROUP_BYTES`]; a larger value is a group of its own.
fn grouped(layers: &[Layer]) -> Vec<&[Layer]> {
    let (mut groups, mut start, mut bytes) = (Vec::new(), 0, 0u64);
    for (index, layer) in layers.iter().enumerate() {
        if index > start && bytes.saturating_add(layer.bytes) > GROUP_BYTES {
            groups.push(&layers[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(layer.bytes);
    }
    groups.push(&layers[start..]);
    groups.retain(|group| !group.is_empty());
    groups
}

struct Comparison<'a> {
    runtime: &'a OnnxRuntime,
    reference: &'a Model,
    candidate: &'a Model,
    samples: &'a Samples,
    most: usize,
    tally: UnreadableTally,
    progress: &'a dyn Progress,
    cancel: &'a CancelFlag,
    done: u64,
}

impl Comparison<'_> {
    fn run(&mut self, group: &[Layer], total: u64) -> Result<Vec<OutputAccuracy>> {
        let names = |name: fn(&Layer) -> &String| group.iter().map(|layer| name(layer).as_str()).collect::<Vec<_>>();
        let (ours, theirs) = (names(|layer| &layer.value), names(|layer| &layer.other));
        let mut reference = self.observer(self.reference, &ours)?;
        let mut candidate = self.observer(self.candidate, &theirs)?;
        let mut sums = vec![ErrorSums::default(); group.len()];
        for index in self.samples.spread(self.most) {
            self.cancel.check()?;
            self.done += 1;
            let batch = self.samples.get(index)?;
            self.tally.add(batch.unreadable, self.progress)?;
            if batch.rows == 0 {
                continue;
            }
            let inputs = batch.inputs;
            let expected = run(&mut reference, &inputs, &ours)?;
            let inputs = as_wanted(candidate.session(), inputs)?;
            let actual = run(&mut candidate, &inputs, &theirs)?;
            for ((sums, expected), actual) in sums.iter_mut().zip(&expected).zip(&actual) {
                add(sums, expected, actual);
            }
            self.progress.advance("layers compared", self.done, total);
        }
        Ok(group.iter().zip(&sums).map(|(layer, sums)| sums.finish(&layer.value)).collect())
    }

    fn observer(&self, model: &Model, names: &[&str]) -> Result<Observer> {
        Ok(self.runtime.observe(model, names, &faithful(model))?)
    }
}

fn run(observer: &mut Observer, inputs: &[(String, Tensor)], names: &[&str]) -> Result<Vec<Tensor>> {
    let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = observer.session().run(&borrowed, Some(names))?;
    Ok(outputs.into_iter().map(|(_, tensor)| tensor).collect())
}

/// Adds what can be compared: a shape that depends on the data may differ from sample to sample.
fn add(sums: &mut ErrorSums, expected: &Tensor, actual: &Tensor) {
    if expected.shape != actual.shape {
        return;
    }
    if let (Ok(expected), Ok(actual)) = (expected.to_vec_f32(), actual.to_vec_f32()) {
        sums.add(&expected, &actual);
    }
}

fn finish(layers: Vec<Layer>, accuracies: Vec<OutputAccuracy>) -> Vec<LayerAccuracy> {
    let mut worst = Badness::default();
    let finished = layers.into_iter().zip(accuracies).map(|(layer, accuracy)| {
        let badness = Badness::of(&accuracy);
        let worst_so_far = badness.is_worse_than(&worst);
        if worst_so_far {
            worst = badness;
        }
        let stands_for = (layer.other != layer.value).then_some(layer.other);
        LayerAccuracy { node: layer.node, operator: layer.operator, accuracy, stands_for, worst_so_far }
    });
    finished.collect()
}

/// How bad a value is: whether it holds NaN or infinities of its own, then its SQNR in decibel.
#[derive(Clone, Copy)]
struct Badness(bool, f64);

impl Default for Badness {
    fn default() -> Self {
        Badness(false, f64::INFINITY)
    }
}

impl Badness {
    fn of(accuracy: &OutputAccuracy) -> Self {
        Badness(accuracy.non_finite > 0, accuracy.sqnr_db.unwrap_or(f64::INFINITY))
    }

    fn is_worse_than(self, other: &Badness) -> bool {
        self.0 && !other.0 || self.0 == other.0 && self.1 < other.1
    }
}

impl LayerReport {
    /// The layers, worst first.
    pub fn sorted(mut self) -> Self {
        let key = |layer: &LayerAccuracy| Badness::of(&layer.accuracy);
        self.layers.sort_by(|one, other| {
            let (one, other) = (key(one), key(other));
            other.0.cmp(&one.0).then(one.1.total_cmp(&other.1))
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(value: &str, bytes: u64) -> Layer {
        Layer { node: value.into(), operator: "Conv".into(), value: value.into(), other: value.into(), bytes }
    }

    fn accuracy(sqnr_db: Option<f64>, non_finite: u64) -> OutputAccuracy {
        OutputAccuracy {
            output: "v".into(),
            sqnr_db,
            channel_db: None,
            cosine: 1.0,
            max_abs: 0.0,
            reference_max_abs: 1.0,
            non_finite,
        }
    }

    #[test]
    fn groups_hold_what_fits_and_at_least_one() {
        let half = GROUP_BYTES / 2;
        let layers: Vec<Layer> =
            [half, half, 1, 3 * GROUP_BYTES, 5].into_iter().map(|bytes| layer("v", bytes)).collect();
        let sizes: Vec<usize> = grouped(&layers).iter().map(|group| group.len()).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
        assert!(grouped(&[]).is_empty());
    }

    #[test]
    fn the_worst_so_far_is_marked_and_can_be_sorted_by() {
        let figures = [(None, 0), (Some(40.0), 0), (Some(50.0), 0), (Some(12.0), 0), (Some(60.0), 2), (Some(9.0), 0)];
        let layers = figures.iter().map(|_| layer("v", 1)).collect();
        let accuracies = figures.iter().map(|&(sqnr_db, bad)| accuracy(sqnr_db, bad)).collect();
        let layers = finish(layers, accuracies);
        let marked: Vec<bool> = layers.iter().map(|layer| layer.worst_so_far).collect();
        assert_eq!(marked, [false, true, false, true, true, false]);
        let sorted = LayerReport { layers, unmatched: 0, samples: 1 }.sorted();
        let order: Vec<Option<f64>> = sorted.layers.iter().map(|layer| layer.accuracy.sqnr_db).collect();
        assert_eq!(order, [Some(60.0), Some(9.0), Some(12.0), Some(40.0), Some(50.0), None]);
    }
}
