//! Which inputs and outputs of a node carry the data whose precision can change.

use trtforge_graph::{ElementType, Graph, NodeId, Side, ValueId, ValueType, signature};

/// The slots of a node that hold 32-bit floating-point data and may hold half-precision data instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FloatSlots {
    pub(crate) inputs: Vec<usize>,
    pub(crate) outputs: Vec<usize>,
}

impl FloatSlots {
    /// The slots of `node`, or `None` where nothing is known of its operator.
    ///
    /// A cast has no input slot: it reads any type, so its input never needs converting.
    pub(crate) fn of(graph: &Graph, node: NodeId) -> Option<FloatSlots> {
        if is_cast(graph, node) {
            return Some(FloatSlots { inputs: vec![], outputs: vec![0] }.filtered(graph, node));
        }
        let signature = signature(graph.domain(node), graph.op_type(node), graph.opset("")?)?;
        let grouped = |side: fn(usize) -> Side, count: usize| {
            (0..count).filter(|&slot| signature.group(side(slot)).is_some()).collect()
        };
        let slots = FloatSlots {
            inputs: grouped(Side::Input, graph.inputs(node).len()),
            outputs: grouped(Side::Output, graph.outputs(node).len()),
        };
        Some(slots.filtered(graph, node))
    }

    /// Whether the node's precision cannot be chosen at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }

    fn filtered(mut self, graph: &Graph, node: NodeId) -> FloatSlots {
        let holds_floats = |value: Option<ValueId>| value.is_some_and(|value| is_float32(graph, value));
        self.inputs.retain(|&slot| holds_floats(graph.input(node, slot)));
        self.outputs.retain(|&slot| holds_floats(graph.output(node, slot)));
        self
    }
}

/// Whether a node is the standard `Cast`.
pub(crate) fn is_cast(graph: &Graph, node: NodeId) -> bool {
    graph.domain(node).is_empty() && graph.op_type(node) == "Cast"
}

/// Whether a value is known to hold 32-bit floating-point numbers.
pub(crate) fn is_float32(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).ty.as_ref().and_then(ValueType::element) == Some(ElementType::Float32)
}
