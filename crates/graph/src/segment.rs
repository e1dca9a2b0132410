//! A part of a graph as a model of its own.
//!
//! Values keep their names, so that segments of one graph fit together by name: what one returns the next may read.
//! Weights are shared with the model that they come from, not copied. Some nodes are repeated in every segment that reads
//! them instead of being part of one: what depends on nothing but stored values, and dequantizations, which read a tensor
//! that is smaller than the one they make.

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

/// Whether segments that read what a node makes repeat the node instead of reading its result from another.
pub fn is_repeated(graph: &Graph, node: NodeId) -> bool {
    let reads = graph.inputs(node).iter().flatten().chain(graph.captures(node));
    let mut data = reads.filter(|&&value| !is_stored(graph, value));
    let makes_output = graph.outputs(node).iter().flatten().any(|&value| graph.value(value).is_output);
    let dequantizes = graph.op_type(node) == "DequantizeLinear" && graph.domain(node).is_empty();
    !makes_output && (is_constant(graph, node) || dequantizes && data.all(|value| graph.input(node, 0) == Some(*value)))
}

/// Whether a value is the same in every run.
fn is_stored(graph: &Graph, value: ValueId) -> bool {
    match graph.value(value).producer {
        Producer::Initializer => true,
        Producer::GraphInput => false,
        Producer::Node { node, .. } => is_constant(graph, node),
    }
}

/// Whether a node makes the same in every run. One that reads nothing may be random.
fn is_constant(graph: &Graph, node: NodeId) -> bool {
    let mut reads = graph.inputs(node).iter().flatten().chain(graph.captures(node)).peekable();
    match reads.peek() {
        None => graph.op_type(node) == "Constant" && graph.domain(node).is_empty(),
        Some(_) => reads.all(|&value| is_stored(graph, value)),
    }
}

/// The values that a node reads where every node that [`is_repeated`] is a part of its readers: in their place stand what
/// they read. Stored values are among them.
pub fn read_through(graph: &Graph, node: NodeId) -> Vec<ValueId> {
    let mut read = Vec::new();
    for &value in graph.inputs(node).iter().flatten().chain(graph.captures(node)) {
        match graph.producer(value).filter(|&producer| is_repeated(graph, producer)) {
            Some(producer) => read.extend(read_through(graph, producer)),
            None => read.push(value),
        }
    }
    read
}

/// The boundary of `nodes`, of which none is repeated and which no path leaves and enters again.
pub fn segment_boundary(graph: &Graph, nodes: &[NodeId]) -> Boundary {
    let inside: HashSet<NodeId> = nodes.iter().copied().collect();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for &node in nodes {
        for value in read_through(graph, node) {
            let outside = match graph.value(value).producer {
                Producer::Initializer => false,
                Producer::GraphInput => true,
                Producer::Node { node, .. } => !inside.contains(&node),
            };
            if outside && seen.insert(value) {
                inputs.push(value);
            }
        }
        let leaves = |value: &ValueId| graph.value(*value).is_output || is_read_outside(graph, *value, &inside);
        outputs.extend(graph.outputs(node).iter().flatten().copied().filter(leaves));
    }
    let inputs_first = |value: &ValueId| graph.graph_inputs().iter().position(|it| it == value).unwrap_or(usize::MAX);
    inputs.sort_by_key(inputs_first);
    let outputs_last = |value: &ValueId| graph.graph_outputs().iter().position(|it| it == value).map_or(0, |at| at + 1);
    outputs.sort_by_key(outputs_last);
    Boundary { inputs, outputs }
}

/// Whether a node outside reads a value, be it through repeated ones.
fn is_read_outside(graph: &Graph, value: ValueId, inside: &HashSet<NodeId>) -> bool {
    graph.value(value).consumers.iter().any(|consumer| match is_repeated(graph, consumer.node) {
        true => graph.outputs(consumer.node).iter().flatten().any(|&made| is_read_outside(graph, made, inside)),
        false => !inside.contains(&consumer.node),
    })
}

/// `nodes` as a model, with the repeated nodes that they read; none of them is repeated, and no path leaves them and enters
/// again.
///
/// # Errors
/// [`Error::UnknownSize`] for a boundary value whose type is not known.
pub fn segment(graph: &Graph, nodes: &[NodeId]) -> Result<Model> {
    let boundary = segment_boundary(graph, nodes);
    let nodes = with_repeated(graph, nodes);
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

fn with_repeated(graph: &Graph, nodes: &[NodeId]) -> Vec<NodeId> {
    let mut wanted: HashSet<NodeId> = nodes.iter().copied().collect();
    let mut open: Vec<NodeId> = nodes.to_vec();
    while let Some(node) = open.pop() {
        let reads = graph.inputs(node).iter().flatten().chain(graph.captures(node));
        let producers = reads.filter_map(|&value| graph.producer(value));
        open.extend(producers.filter(|&producer| is_repeated(graph, producer) && wanted.insert(producer)));
    }
    graph.node_ids().filter(|node| wanted.contains(node)).collect()
}

fn info(graph: &Graph, value: ValueId) -> Result<ValueInfoProto> {
    let value = graph.value(value);
    match &value.ty {
        Some(ty) if ty.to_proto().is_some() => Ok(value_info(&value.name, ty)),
        _ => Err(Error::UnknownSize { value: value.name.clone(), shape: "type unknown".to_owned() }),
    }
}
