//! Counts of nodes, parameters, bytes and multiply-accumulates.
//!
//! Multiply-accumulates are counted for convolutions and matrix products, whose cost is everything in the models this
//! is used for; nodes inside subgraphs are not counted. A number that cannot be known is `None`, never a guess.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::element::ElementType;
use crate::graph::{Graph, NodeId, ValueId};
use crate::proto::TensorProto;
use crate::tensor::{shape_of, stored_bytes};

/// Figures of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Nodes per operator; other domains than `ai.onnx` as `domain.Operator`.
    pub operators: BTreeMap<String, usize>,
    /// One entry per node, in running order.
    pub nodes: Vec<NodeStatistics>,
    /// Elements of all initializers that are weights: not 64-bit integers, booleans or strings.
    pub parameters: u64,
    /// Bytes of all initializers.
    pub weight_bytes: u64,
    /// Sum over the nodes where it is known.
    pub macs: u64,
    /// Bytes of all values that nodes make, where known.
    pub activation_bytes: u64,
    /// Names of the nodes that have multiply-accumulates of unknown number, because a shape is not known.
    pub unknown: Vec<String>,
}

/// Figures of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatistics {
    /// The node.
    #[serde(skip)]
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Multiply-accumulates; 0 for operators that are not counted, `None` if a shape is not known.
    pub macs: Option<u64>,
    /// Weights among the initializers it reads. One that several nodes read counts at each.
    pub parameters: u64,
    /// Bytes of the initializers it reads.
    pub weight_bytes: u64,
    /// Bytes of its outputs.
    pub output_bytes: Option<u64>,
}

impl Statistics {
    /// Floating-point operations in units of 10^9: two per multiply-accumulate.
    pub fn gflop(&self) -> f64 {
        2.0 * self.macs as f64 / 1e9
    }
}

/// Counts everything in `graph`.
pub fn statistics(graph: &Graph) -> Statistics {
    let nodes: Vec<NodeStatistics> = graph.node_ids().map(|node| node_statistics(graph, node)).collect();
    let mut operators = BTreeMap::new();
    nodes.iter().for_each(|node| *operators.entry(node.operator.clone()).or_default() += 1);
    let unknown = nodes.iter().filter(|node| node.macs.is_none()).map(|node| node.name.clone()).collect();
    Statistics {
        operators,
        parameters: graph.initializers().map(|(_, tensor)| parameters(tensor)).fold(0, u64::saturating_add),
        weight_bytes: graph.initializers().map(|(_, tensor)| stored_bytes(tensor)).sum(),
        macs: nodes.iter().filter_map(|node| node.macs).fold(0, u64::saturating_add),
        activation_bytes: nodes.iter().filter_map(|node| node.output_bytes).fold(0, u64::saturating_add),
        unknown,
        nodes,
    }
}

fn node_statistics(graph: &Graph, node: NodeId) -> NodeStatistics {
    let tensors = || graph.inputs(node).iter().flatten().filter_map(|&value| graph.initializer(value));
    let mut sizes = graph.outputs(node).iter().flatten().map(|&value| bytes(graph, value));
    let domain = graph.domain(node);
    let operator = graph.op_type(node);
    NodeStatistics {
        id: node,
        name: graph.node_name(node),
        operator: if domain.is_empty() { operator.to_owned() } else { format!("{domain}.{operator}") },
        macs: macs(graph, node),
        parameters: tensors().map(parameters).fold(0, u64::saturating_add),
        weight_bytes: tensors().map(stored_bytes).sum(),
        output_bytes: sizes.try_fold(0u64, |sum, bytes| sum.checked_add(bytes?)),
    }
}

fn parameters(tensor: &TensorProto) -> u64 {
    let element = ElementType::from_onnx(tensor.data_type());
    if matches!(element, ElementType::Int64 | ElementType::Bool | ElementType::String) {
        return 0;
    }
    shape_of(tensor).map_or(0, |shape| if shape.contains(&0) { 0 } else { shape.iter().product() })
}

fn bytes(graph: &Graph, value: ValueId) -> Option<u64> {
    graph.value(value).ty.as_ref()?.tensor()?.bytes()
}

fn macs(graph: &Graph, node: NodeId) -> Option<u64> {
    match graph.op_type(node) {
        "Conv" | "ConvInteger" | "FusedConv" => convolution(graph, node, 1),
        "QLinearConv" => convolution(graph, node, 3),
        "ConvTranspose" => transposed_convolution(graph, node),
        "Gemm" => gemm(graph, node),
        "MatMul" | "MatMulInteger" | "FusedMatMul" => matrix_product(graph, node, 0, 1),
        "QLinearMatMul" => matrix_product(graph, node, 0, 3),
        _ => Some(0),
    }
}

/// Each output element is a sum over one filter: weights are `[out, in / group, kernel...]`.
fn convolution(graph: &Graph, node: NodeId, weight_slot: usize) -> Option<u64> {
    let weights = input_shape(graph, node, weight_slot)?;
    product(&output_shape(graph, node)?)?.checked_mul(product(weights.get(1..)?)?)
}

/// Each input element is spread over one filter: weights are `[in, out / group, kernel...]`.
fn transposed_convolution(graph: &Graph, node: NodeId) -> Option<u64> {
    let weights = input_shape(graph, node, 1)?;
    product(&input_shape(graph, node, 0)?)?.checked_mul(product(weights.get(1..)?)?)
}

fn gemm(graph: &Graph, node: NodeId) -> Option<u64> {
    let left = input_shape(graph, node, 0)?;
    let inner = if graph.attribute_int(node, "transA").unwrap_or(0) == 0 { left.get(1)? } else { left.first()? };
    product(&output_shape(graph, node)?)?.checked_mul(*inner)
}

fn matrix_product(graph: &Graph, node: NodeId, left: usize, right: usize) -> Option<u64> {
    let (left, right) = (input_shape(graph, node, left)?, input_shape(graph, node, right)?);
    let inner = *left.last()?;
    match output_shape(graph, node) {
        Some(output) => product(&output)?.checked_mul(inner),
        None if left.len() == 2 && right.len() == 2 => product(&left)?.checked_mul(right[1]),
        None => None,
    }
}

fn input_shape(graph: &Graph, node: NodeId, slot: usize) -> Option<Vec<u64>> {
    shape(graph, graph.input(node, slot)?)
}

fn output_shape(graph: &Graph, node: NodeId) -> Option<Vec<u64>> {
    shape(graph, graph.output(node, 0)?)
}

fn shape(graph: &Graph, value: ValueId) -> Option<Vec<u64>> {
    graph.value(value).ty.as_ref()?.tensor()?.fixed_shape()
}

fn product(sizes: &[u64]) -> Option<u64> {
    sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size))
}
