//! The order in which elements of values between segments lie in memory.
//!
//! TensorRT convolves with the channels of a place together. An input or output in row-major order is copied into that order
//! in front of a convolution, or out of it behind one, and the copy is counted as activation memory of the segment.

use std::collections::HashMap;
use trtforge_graph::{ElementType, Graph, NodeId, ValueId, ValueType, is_repeated};
use trtforge_tensorrt::TensorFormat;

/// Multiples that the channels of an 8-bit value are padded to; nothing is to be padded, so that sizes are those of the shapes.
const PADDED_CHANNELS: u64 = 16;

/// The format that a value takes least memory in where it goes from one segment to another. `steps` are the nodes of each kernel.
pub(super) fn between(graph: &Graph, steps: &Steps, value: ValueId) -> TensorFormat {
    let ty = graph.value(value).ty.as_ref().and_then(ValueType::tensor);
    let Some((element, [_, channels, _, _])) = ty.and_then(|ty| Some((ty.element, ty.shape.as_deref()?))) else {
        return TensorFormat::Linear;
    };
    let is_padded = channels.fixed().is_none_or(|channels| channels % PADDED_CHANNELS != 0);
    match element {
        _ if !steps.convolve_around(graph, value) => TensorFormat::Linear,
        ElementType::Float32 | ElementType::Float16 => TensorFormat::Hwc,
        ElementType::Int8 if !is_padded => TensorFormat::Hwc16,
        _ => TensorFormat::Linear,
    }
}

/// Which kernels convolve.
pub(super) struct Steps {
    of_node: HashMap<NodeId, usize>,
    convolves: Vec<bool>,
}

impl Steps {
    pub(super) fn of(graph: &Graph, steps: &[Vec<NodeId>]) -> Self {
        let convolves = |nodes: &Vec<NodeId>| nodes.iter().any(|&node| is_convolution(graph, node));
        let numbered = steps.iter().enumerate();
        Self {
            of_node: numbered.flat_map(|(step, nodes)| nodes.iter().map(move |&node| (node, step))).collect(),
            convolves: steps.iter().map(convolves).collect(),
        }
    }

    /// Whether a kernel that makes a value or reads it convolves.
    fn convolve_around(&self, graph: &Graph, value: ValueId) -> bool {
        graph.producer(value).is_some_and(|node| self.convolves(node)) || self.are_read_by_convolution(graph, value)
    }

    fn are_read_by_convolution(&self, graph: &Graph, value: ValueId) -> bool {
        graph.value(value).consumers.iter().any(|user| match is_repeated(graph, user.node) {
            true => graph.outputs(user.node).iter().flatten().any(|&value| self.are_read_by_convolution(graph, value)),
            false => self.convolves(user.node),
        })
    }

    fn convolves(&self, node: NodeId) -> bool {
        self.of_node.get(&node).is_some_and(|&step| self.convolves[step])
    }
}

fn is_convolution(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Conv" | "ConvTranspose")
}
