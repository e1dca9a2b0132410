//! A run of consecutive nodes of a graph as a model of its own.
//!
//! Values keep their names, so that segments of one graph fit together by name: what one returns the next may read.
//! Weights are shared with the model that they come from, not copied.

use std::collections::HashSet;

use protobuf::MessageField;

use crate::construct::value_info;
use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Producer, ValueId};
use crate::model::Model;
use crate::proto::{GraphProto, ModelProto, ValueInfoProto};

/// What goes into a segment and what comes out, in the order of the whole graph's values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Values that the segment reads and does not make; no stored ones.
    pub inputs: Vec<ValueId>,
    /// Values that it makes and that later nodes read, or that the graph returns.
    pub outputs: Vec<ValueId>,
}

/// The boundary of `nodes`, which are consecutive in running order.
pub fn segment_boundary(graph: &Graph, nodes: &[NodeId]) -> Boundary {
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for &node in nodes {
        for &value in graph.inputs(node).iter().flatten().chain(graph.captures(node)) {
            let outside = match graph.value(value).producer {
                Producer::Initializer => false,
                Producer::GraphInput => true,
                Producer::Node { node, .. } => !inside.contains(&node) && !is_constant(graph, node),
            };
            if outside && seen.insert(value) {
                inputs.push(value);
            }
        }
        let leaves = |value: &ValueId| {
            let value = graph.value(*value);
            value.is_output || value.consumers.iter().any(|consumer| !inside.contains(&consumer.node))
        };
        if !is_constant(graph, node) {
            outputs.extend(graph.outputs(node).iter().flatten().copied().filter(leaves));
        }
    }
    let inputs_first = |value: &ValueId| graph.graph_inputs().iter().position(|it| it == value).unwrap_or(usize::MAX);
    inputs.sort_by_key(inputs_first);
    let outputs_last = |value: &ValueId| graph.graph_outputs().iter().position(|it| it == value).map_or(0, |at| at + 1);
    outputs.sort_by_key(outputs_last);
    Boundary { inputs, outputs }
}

/// `nodes`, which are consecutive in running order, as a model. `Constant` nodes elsewhere that they read come along.
///
/// # Errors
/// [`Error::UnknownSize`] for a boundary value whose type is not known.
pub fn segment(graph: &Graph, nodes: &[NodeId]) -> Result<Model> {
    let boundary = segment_boundary(graph, nodes);
    let nodes = with_constants(graph, nodes);
    let read: HashSet<ValueId> = nodes
        .iter()
        .flat_map(|&node| graph.inputs(node).iter().flatten().chain(graph.captures(node)))
        .copied()
        .collect();
    let initializer = graph.initializers().filter(|(id, _)| read.contains(id)).map(|(_, tensor)| tensor.clone());
    let infos = |values: &[ValueId]| values.iter().map(|&value| info(graph, value)).collect::<Result<Vec<_>>>();
    let whole = graph.shell();
    let part = GraphProto {
        name: whole.graph.name.clone(),
        node: nodes.iter().map(|&node| graph.node(node).clone()).collect(),
        initializer: initializer.collect(),
        input: infos(&boundary.inputs)?,
        output: infos(&boundary.outputs)?,
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: whole.ir_version,
        producer_name: whole.producer_name.clone(),
        producer_version: whole.producer_version.clone(),
        opset_import: whole.opset_import.clone(),
        functions: whole.functions.clone(),
        graph: MessageField::some(part),
        ..ModelProto::default()
    };
    Ok(Model::from_proto(model))
}

fn with_constants(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let reads = nodes.iter().flat_map(|&node| graph.inputs(node).iter().flatten().chain(graph.captures(node)));
    let mut constants: Vec<NodeId> = reads
        .filter_map(|&value| graph.producer(value))
        .filter(|node| !inside.contains(node) && is_constant(graph, *node))
        .collect();
    constants.sort_unstable();
    constants.dedup();
    constants.extend_from_slice(nodes);
    constants
}

fn is_constant(graph: &Graph, node: NodeId) -> bool {
    graph.op_type(node) == "Constant" && graph.domain(node).is_empty()
}

fn info(graph: &Graph, value: ValueId) -> Result<ValueInfoProto> {
    let value = graph.value(value);
    match &value.ty {
        Some(ty) if ty.to_proto().is_some() => Ok(value_info(&value.name, ty)),
        _ => Err(Error::UnknownSize { value: value.name.clone(), shape: "type unknown".to_owned() }),
    }
}
