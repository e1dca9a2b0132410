//! Parts of a graph that can be computed in bands of rows.

use super::super::image_shape;
use super::doubtful::doubtful;
use super::rows::{BandedNode, Rule};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use trtforge_graph::{Graph, NodeId, Producer, Slot, ValueId};

/// How far a segment goes back from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// As far as nodes work towards the end alone.
    Whole,
    /// As [`Reach::Whole`], but only through nodes whose inputs have as many rows as the end.
    SameHeight,
}

/// Nodes that only work towards one value, its end: nothing else reads what they write.
#[derive(Clone, Debug)]
pub struct Segment {
    /// In running order.
    pub(super) nodes: Vec<BandedNode>,
    pub(super) end: ValueId,
    pub(super) height: u64,
    sources: Vec<ValueId>,
}

impl Segment {
    /// The largest segment of that reach with that end, or `None` where the end has no rows or its producer cannot be computed in bands.
    ///
    /// A node behind a pool whose number of windows is in doubt belongs to no segment.
    pub fn behind(graph: &Graph, end: ValueId, reach: Reach) -> Option<Self> {
        if graph.opset("").is_none_or(|opset| opset < 10) {
            return None;
        }
        let height = image_shape(graph, end)?[2];
        let (constants, doubtful) = (constants(graph), doubtful(graph));
        let order: Vec<NodeId> = graph.node_ids().collect();
        let mut inside: HashSet<NodeId> = HashSet::new();
        let mut nodes = Vec::new();
        for &node in order.iter().rev() {
            let has_doubtful = graph.outputs(node).iter().flatten().any(|output| doubtful.contains(output));
            if has_doubtful || !works_towards(graph, node, end, &inside) {
                continue;
            }
            let Some(banded) = BandedNode::read(graph, node, &constants) else { continue };
            if reach == Reach::SameHeight && !keeps_height(graph, &banded, height) {
                continue;
            }
            inside.insert(node);
            nodes.push(banded);
        }
        nodes.reverse();
        let sources = sources(graph, &nodes, &inside);
        (!nodes.is_empty()).then_some(Self { nodes, end, height, sources })
    }

    /// The value that the segment works towards.
    pub fn end(&self) -> ValueId {
        self.end
    }

    /// Rows of the end.
    pub fn height(&self) -> u64 {
        self.height
    }

    /// What the segment reads, constants aside.
    pub fn sources(&self) -> &[ValueId] {
        &self.sources
    }

    /// Whether the segment reads nothing but inputs of the network.
    pub fn begins_at_inputs(&self, graph: &Graph) -> bool {
        self.sources.iter().all(|&source| graph.value(source).producer == Producer::GraphInput)
    }

    /// The nodes, in running order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.iter().map(|banded| banded.node)
    }
}

/// Whether everything that `node` writes is the end or read by nodes of the segment alone.
fn works_towards(graph: &Graph, node: NodeId, end: ValueId, inside: &HashSet<NodeId>) -> bool {
    let mut outputs = graph.outputs(node).iter().flatten().peekable();
    let used = |&output: &ValueId| {
        let value = graph.value(output);
        let own = |user: &trtforge_graph::Use| inside.contains(&user.node) && user.slot != Slot::Capture;
        output == end || (!value.is_output && !value.consumers.is_empty() && value.consumers.iter().all(own))
    };
    outputs.peek().is_some() && outputs.all(used)
}

fn keeps_height(graph: &Graph, banded: &BandedNode, height: u64) -> bool {
    let heights = banded.data.iter().filter_map(|&slot| Some(image_shape(graph, graph.input(banded.node, slot)?)?[2]));
    !matches!(banded.rule, Rule::Double) && heights.into_iter().all(|rows| rows == height || rows == 1)
}

/// Values that are the same in every run: initializers, constants, and what is computed from them alone.
fn constants(graph: &Graph) -> HashSet<ValueId> {
    let initial = graph.value_ids().filter(|&value| graph.value(value).producer == Producer::Initializer);
    let mut constants: HashSet<ValueId> = initial.collect();
    for node in graph.node_ids() {
        let from_constants = graph.inputs(node).iter().flatten().all(|value| constants.contains(value));
        if from_constants && graph.captures(node).is_empty() {
            constants.extend(graph.outputs(node).iter().flatten());
        }
    }
    constants
}

fn sources(graph: &Graph, nodes: &[BandedNode], inside: &HashSet<NodeId>) -> Vec<ValueId> {
    let read = nodes.iter().flat_map(|banded| banded.data.iter().filter_map(|&slot| graph.input(banded.node, slot)));
    let outside = |value: &ValueId| graph.producer(*value).is_none_or(|node| !inside.contains(&node));
    let mut sources: Vec<ValueId> = read.filter(outside).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}
