//! The largest magnitude that each floating-point value takes on sample inputs.
//!
//! The reductions run inside ONNX Runtime, as nodes added to a copy of the model, so that one forward pass per sample is enough and no activation leaves it:
//! memory stays that of a plain inference, whatever the number of values or samples.

use crate::samples::Samples;
use crate::{CancelFlag, Progress, Result};
use std::collections::HashMap;
use trtforge_graph::construct::{node, value_info};
use trtforge_graph::{Dimension, ElementType, Graph, Model, Producer, TensorType, ValueId, ValueType};
use trtforge_onnxruntime::{OnnxRuntime, Optimization, SessionConfig};

/// Least and greatest element that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least element.
    pub min: f32,
    /// Greatest element.
    pub max: f32,
}

impl Range {
    /// Largest magnitude; NaN counts as infinite.
    pub fn amax(self) -> f32 {
        if self.is_nan() { f32::INFINITY } else { self.min.abs().max(self.max.abs()) }
    }

    fn is_nan(self) -> bool {
        self.min.is_nan() || self.max.is_nan()
    }

    fn union(self, other: Range) -> Range {
        match (self.is_nan(), other.is_nan()) {
            (true, _) => self,
            (_, true) => other,
            _ => Range { min: self.min.min(other.min), max: self.max.max(other.max) },
        }
    }
}

/// Ranges by value name.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    by_value: HashMap<String, Range>,
    samples: usize,
}

impl Ranges {
    /// The range of a value, where it was observed.
    pub fn get(&self, value: &str) -> Option<Range> {
        self.by_value.get(value).copied()
    }

    /// Adds what one more sample showed.
    pub fn add(&mut self, value: &str, range: Range) {
        self.by_value.entry(value.to_owned()).and_modify(|known| *known = known.union(range)).or_insert(range);
    }

    /// Number of samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of values with a range.
    pub fn len(&self) -> usize {
        self.by_value.len()
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.by_value.is_empty()
    }
}

/// Runs `samples` through the model behind `graph` and notes the range of every 32-bit floating-point value that is not a constant.
///
/// Values whose shape depends on the data are left out: they may be empty, and an empty tensor has no range.
///
/// # Errors
/// Those of ONNX Runtime and of reading the samples; [`crate::Error::Cancelled`].
pub fn observe_ranges(
    runtime: &OnnxRuntime,
    graph: &Graph,
    model: &Model,
    samples: &Samples,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Ranges> {
    let watched = watched_values(graph);
    let mut ranges = Ranges::default();
    if watched.is_empty() {
        return Ok(ranges);
    }
    let (observed, outputs) = with_reductions(graph, model, &watched);
    let mut session =
        runtime.session(&observed, &SessionConfig { optimization: Optimization::Basic, ..SessionConfig::default() })?;
    let wanted: Vec<&str> = outputs.iter().flat_map(|(_, min, max)| [min.as_str(), max.as_str()]).collect();
    for index in 0..samples.len() {
        cancel.check()?;
        let inputs = samples.get(index)?;
        let borrowed: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let results: HashMap<String, _> = session.run(&borrowed, Some(&wanted))?.into_iter().collect();
        for (value, min, max) in &outputs {
            let scalar =
                |name: &String| results.get(name).and_then(|tensor| tensor.to_vec_f32().ok()?.first().copied());
            if let (Some(min), Some(max)) = (scalar(min), scalar(max)) {
                ranges.add(value, Range { min, max });
            }
        }
        ranges.samples += 1;
        progress.advance("samples observed", index as u64 + 1, samples.len() as u64);
    }
    Ok(ranges)
}

fn watched_values(graph: &Graph) -> Vec<ValueId> {
    let inputs_fixed = graph.graph_inputs().iter().all(|&input| !is_open(graph, input));
    let mut values: Vec<ValueId> = graph.graph_inputs().to_vec();
    values.extend(graph.node_ids().flat_map(|node| graph.outputs(node).iter().copied().flatten().collect::<Vec<_>>()));
    values.retain(|&value| {
        is_float32(graph, value) && graph.constant(value).is_none() && !(inputs_fixed && is_open(graph, value))
    });
    values
}

fn is_float32(graph: &Graph, value: ValueId) -> bool {
    matches!(&graph.value(value).ty, Some(ValueType::Tensor(ty)) if ty.element == ElementType::Float32)
}

fn is_open(graph: &Graph, value: ValueId) -> bool {
    match &graph.value(value).ty {
        Some(ValueType::Tensor(TensorType { shape: Some(shape), .. })) => {
            shape.iter().any(|d| !matches!(d, Dimension::Fixed(n) if *n > 0))
        }
        _ => true,
    }
}

/// The model with a ReduceMin and a ReduceMax on every watched value as its outputs.
fn with_reductions(graph: &Graph, model: &Model, watched: &[ValueId]) -> (Model, Vec<(String, String, String)>) {
    let mut observed = model.clone();
    let target = observed.proto_mut().graph.mut_or_insert_default();
    let scalar = TensorType { element: ElementType::Float32, shape: Some(vec![]) };
    let mut outputs = Vec::with_capacity(watched.len());
    for (index, &value) in watched.iter().enumerate() {
        let name = graph.value(value).name.clone();
        let (min, max) = (format!("__trtforge_min_{index}"), format!("__trtforge_max_{index}"));
        for (op, output) in [("ReduceMin", &min), ("ReduceMax", &max)] {
            target.node.push(node(op, output, [name.as_str()], [output.as_str()]).attr_int("keepdims", 0));
            target.output.push(value_info(output, &ValueType::Tensor(scalar.clone())));
        }
        outputs.push((name, min, max));
    }
    debug_assert!(watched.iter().all(|&value| !matches!(graph.value(value).producer, Producer::Initializer)));
    (observed, outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_infinite_and_sticks() {
        let nan = Range { min: f32::NAN, max: 1.0 };
        assert_eq!(nan.amax(), f32::INFINITY);
        let mut ranges = Ranges::default();
        ranges.add("x", nan);
        ranges.add("x", Range { min: 0.0, max: 2.0 });
        assert_eq!(ranges.get("x").unwrap().amax(), f32::INFINITY);
        ranges.add("y", Range { min: 0.0, max: 2.0 });
        ranges.add("y", nan);
        assert_eq!(ranges.get("y").unwrap().amax(), f32::INFINITY);
    }

    #[test]
    fn ranges_grow() {
        let mut ranges = Ranges::default();
        ranges.add("x", Range { min: -1.0, max: 1.0 });
        ranges.add("x", Range { min: -0.5, max: 3.0 });
        assert_eq!(ranges.get("x"), Some(Range { min: -1.0, max: 3.0 }));
        assert_eq!(ranges.get("x").unwrap().amax(), 3.0);
    }
}
