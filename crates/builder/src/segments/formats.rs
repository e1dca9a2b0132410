//! The order in which elements of values between segments lie in memory.
//!
//! TensorRT convolves with the channels of a place together. An input or output in row-major order is copied into that order
//! in front of a convolution, or out of it behind one, and the copy is counted as activation memory of the segment.

use std::collections::HashSet;
use trtforge_graph::{ElementType, Graph, NodeId, ValueId, ValueType, is_repeated};
use trtforge_tensorrt::TensorFormat;

/// Multiples that the channels of an 8-bit value are padded to; nothing is to be padded, so that sizes are those of the shapes.
const PADDED_CHANNELS: u64 = 16;

/// The format in which a value goes from one segment to another without being copied.
pub(super) fn between(graph: &Graph, kernels: &ConvolvingKernels, value: ValueId) -> TensorFormat {
    let ty = graph.value(value).ty.as_ref().and_then(ValueType::tensor);
    let Some((element, [_, channels, _, _])) = ty.and_then(|ty| Some((ty.element, ty.shape.as_deref()?))) else {
        return TensorFormat::Linear;
    };
    let is_padded = channels.fixed().is_none_or(|channels| channels % PADDED_CHANNELS != 0);
    match element {
        _ if !kernels.are_around(graph, value) => TensorFormat::Linear,
        ElementType::Float32 | ElementType::Float16 => TensorFormat::Hwc,
        ElementType::Int8 if !is_padded => TensorFormat::Hwc16,
        _ => TensorFormat::Linear,
    }
}

/// The nodes of kernels that convolve.
pub(super) struct ConvolvingKernels(HashSet<NodeId>);

impl ConvolvingKernels {
    /// Those of a network whose nodes run together in these groups.
    pub(super) fn of(graph: &Graph, kernels: &[Vec<NodeId>]) -> Self {
        let convolves =
            |nodes: &&Vec<NodeId>| nodes.iter().any(|&node| matches!(graph.op_type(node), "Conv" | "ConvTranspose"));
        Self(kernels.iter().filter(convolves).flatten().copied().collect())
    }

    /// Whether one makes a value or reads it.
    fn are_around(&self, graph: &Graph, value: ValueId) -> bool {
        graph.producer(value).is_some_and(|node| self.0.contains(&node)) || self.read(graph, value)
    }

    fn read(&self, graph: &Graph, value: ValueId) -> bool {
        graph.value(value).consumers.iter().any(|user| match is_repeated(graph, user.node) {
            true => graph.outputs(user.node).iter().flatten().any(|&value| self.read(graph, value)),
            false => self.0.contains(&user.node),
        })
    }
}
