//! Which tensors get a histogram: the activations that a placement of quantization may want a scale for.

use crate::precision::is_float32;
use std::collections::HashSet;
use trtforge_graph::{Graph, ValueId};

/// Operators that compute in INT8 with weights of their own; their inputs are quantized.
const WEIGHTED: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Operators without weights that stay in INT8 between quantized neighbours, so that their inputs and outputs are quantized.
const PASSING: [&str; 6] = ["Add", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"];

/// The names of all 32-bit activations that may be quantized, in the order of computation, inputs of the model first.
pub fn calibrated_tensors(graph: &Graph) -> Vec<String> {
    let mut wanted: HashSet<ValueId> = HashSet::new();
    for node in graph.node_ids().filter(|&node| matches!(graph.domain(node), "" | "ai.onnx")) {
        let operator = graph.op_type(node);
        if WEIGHTED.contains(&operator) || PASSING.contains(&operator) {
            wanted.extend(graph.inputs(node).iter().flatten());
        }
        if PASSING.contains(&operator) {
            wanted.extend(graph.outputs(node).iter().flatten());
        }
    }
    let made = graph.node_ids().flat_map(|node| graph.outputs(node).iter().copied().flatten());
    let values = graph.graph_inputs().iter().copied().chain(made);
    let activations = values.filter(|value| wanted.contains(value) && is_activation(graph, *value));
    activations.map(|value| graph.value(value).name.clone()).collect()
}

/// Concatenations that are not `known` while all their parts are, each with its parts: what one holds is what its parts hold.
pub(crate) fn concatenations_of<'g>(graph: &'g Graph, known: &dyn Fn(&str) -> bool) -> Vec<(&'g str, Vec<&'g str>)> {
    let name = |value: ValueId| graph.value(value).name.as_str();
    let parts = |node| graph.inputs(node).iter().map(|part| part.map(name)).collect::<Option<Vec<_>>>();
    let concatenations = graph.node_ids().filter(|&node| graph.op_type(node) == "Concat");
    let named = concatenations.filter_map(|node| Some((name(graph.output(node, 0)?), parts(node)?)));
    named.filter(|(whole, parts)| !known(whole) && parts.iter().all(|part| known(part))).collect()
}

/// Whether a value is a 32-bit tensor that depends on the inputs.
fn is_activation(graph: &Graph, value: ValueId) -> bool {
    is_float32(graph, value) && graph.constant(value).is_none()
}
