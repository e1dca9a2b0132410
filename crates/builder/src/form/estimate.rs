//! A guess at the activation memory of an engine, from the graph alone: good enough to say which rewrite to try first, not to decide.
//!
//! What is assumed of the compiler is in [`crate::activation`]. Gaps between tensors are not counted.

use crate::activation::{Kernels, WORKSPACE_BYTES};
use trtforge_graph::memory_plan::lower_bound;
use trtforge_graph::{Graph, NodeId, ValueId};

/// The most bytes that are needed at once, and the nodes of the kernel that needs them.
pub fn estimated_activation(graph: &Graph) -> (u64, Vec<NodeId>) {
    peak(graph, |_| true)
}

/// As [`estimated_activation`], over the kernels up to the one that writes `value`.
pub(super) fn estimated_activation_until(graph: &Graph, value: ValueId) -> u64 {
    let kernels = Kernels::of(graph);
    let last = graph.producer(value).and_then(|node| kernels.of_node(node)).unwrap_or(u32::MAX);
    peak(graph, |step| step <= last).0
}

fn peak(graph: &Graph, counts: impl Fn(u32) -> bool) -> (u64, Vec<NodeId>) {
    let kernels = Kernels::of(graph);
    let blocks = kernels.blocks(graph).into_iter().map(|block| (block.bytes, block.first, block.last));
    let mut spans: Vec<(u64, u32, u32)> = blocks.collect();
    spans.extend(kernels.with_workspace().iter().map(|&step| (WORKSPACE_BYTES, step, step)));
    spans.retain(|&(_, first, _)| counts(first));
    let bound = lower_bound(&spans);
    (bound.bytes, kernels.nodes(graph, bound.step).collect())
}
