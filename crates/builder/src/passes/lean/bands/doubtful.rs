//! Values whose recorded shape may not be the one they have when the network runs.
//!
//! A pool with `ceil_mode` whose last window would begin in the padding behind the image has one window fewer by the operator's definition since opset 19, and by
//! ONNX Runtime's kernels for every opset, but not by the shape inference of earlier opsets. Padding computed from such a shape would be wrong.

use super::super::image_shape;
use super::windows::span_and_strides;
use std::collections::HashSet;
use trtforge_graph::{Graph, NodeId, ValueId};

/// The outputs of such pools, and everything that is computed from them.
pub(super) fn doubtful(graph: &Graph) -> HashSet<ValueId> {
    let mut doubtful = HashSet::new();
    for node in graph.node_ids() {
        let reads = graph.inputs(node).iter().flatten().chain(graph.captures(node));
        if reads.into_iter().any(|value| doubtful.contains(value)) || is_doubtful(graph, node) {
            doubtful.extend(graph.outputs(node).iter().flatten().copied());
        }
    }
    doubtful
}

fn is_doubtful(graph: &Graph, node: NodeId) -> bool {
    let rounds_up = graph.attribute_int(node, "ceil_mode").unwrap_or(0) != 0;
    let pads = graph.attribute_ints(node, "pads").unwrap_or(&[0; 4]);
    rounds_up && pads.iter().any(|&pad| pad != 0) && !windows_begin_inside(graph, node, pads).unwrap_or(false)
}

/// Whether on both axes the last window begins in the image or in the padding before it.
fn windows_begin_inside(graph: &Graph, node: NodeId, pads: &[i64]) -> Option<bool> {
    let input = image_shape(graph, graph.input(node, 0)?)?;
    let (span, strides) = span_and_strides(graph, node)?;
    let pads: Vec<u64> = pads.iter().map(|&pad| u64::try_from(pad).ok()).collect::<Option<_>>()?;
    let inside = |axis: usize| {
        let (before, after) = (*pads.get(axis)?, *pads.get(axis + 2)?);
        let room = (input[2 + axis] + before + after).checked_sub(span[axis])?;
        Some(room.div_ceil(strides[axis]) * strides[axis] < input[2 + axis] + before)
    };
    Some(inside(0)? && inside(1)?)
}
