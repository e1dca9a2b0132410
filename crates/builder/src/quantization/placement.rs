//! Where quantized values stand in a graph: what carries them on unchanged, which parameters a value was quantized with, along which axis weights may have scales.

use super::integer_operators::{Layout, layout};
use super::linear::{LinearParameters, constants, is_dequantize, is_quantize, linear_parameters};
use trtforge_graph::{Graph, NodeId, Producer, Slot, ValueId, ValueType};

/// Operators that commute with quantization, because they move or select numbers. Padding is not among them: what it pads with would have to be quantized.
pub(crate) const MOVES: &[&str] = &[
    "MaxPool",
    "GlobalMaxPool",
    "Concat",
    "Reshape",
    "Transpose",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Gather",
    "Expand",
    "Tile",
    "Identity",
    "DepthToSpace",
    "SpaceToDepth",
    "ReduceMax",
    "ReduceMin",
    "Resize",
    "Upsample",
];

/// Longest chain of operators that is followed to where a value was quantized.
const LONGEST_CHAIN: usize = 64;

/// The slots whose data an operator of [`MOVES`] moves.
pub(crate) fn moved_inputs(graph: &Graph, node: NodeId) -> usize {
    if graph.op_type(node) == "Concat" { graph.inputs(node).len() } else { 1 }
}

/// Whether a value is stored in the model.
pub(crate) fn is_stored(graph: &Graph, value: ValueId) -> bool {
    match graph.value(value).producer {
        Producer::Initializer => true,
        Producer::Node { node, .. } => graph.op_type(node) == "Constant" && graph.domain(node).is_empty(),
        Producer::GraphInput => false,
    }
}

/// The parameters with which a value that the network computes was quantized; `None` where it was not, or they cannot be used.
pub(crate) fn parameters_of(graph: &Graph, mut value: ValueId) -> Option<LinearParameters> {
    for _ in 0..LONGEST_CHAIN {
        let node = graph.producer(value)?;
        if is_quantize(graph, node) {
            return linear_parameters(graph, node).ok();
        }
        if let Layout::Known(operator) = layout(graph, node) {
            let (scale, zero_point) = operator.output;
            let zero_point = graph.input(node, zero_point);
            let mut found = constants(graph, graph.input(node, scale), zero_point).ok()?;
            if let (None, Some(ValueType::Tensor(ty))) = (zero_point, &graph.value(value).ty) {
                found.element = ty.element;
            }
            return Some(found);
        }
        if !(MOVES.contains(&graph.op_type(node)) && graph.domain(node).is_empty()) {
            return None;
        }
        value = graph.input(node, 0)?;
    }
    None
}

/// The parameters of the data that an operator of [`MOVES`] moves: those it was quantized with, or, for a stored tensor, those with which all readers of the result
/// dequantize it. `None` where the data is not quantized.
pub(crate) fn moved_parameters(graph: &Graph, node: NodeId) -> Option<LinearParameters> {
    let data = graph.input(node, 0)?;
    if !is_stored(graph, data) {
        return parameters_of(graph, data);
    }
    let readers = graph.outputs(node).iter().flatten().flat_map(|&output| &graph.value(output).consumers);
    let mut found = readers.map(|reader| match is_dequantize(graph, reader.node) {
        true => linear_parameters(graph, reader.node).ok().filter(LinearParameters::is_per_tensor),
        false => None,
    });
    let first = found.next()??;
    found.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// The axis along which TensorRT takes scales for a weight, where every reader reads it as its weight along that axis. `None`: one scale for all.
pub(crate) fn weight_axis(graph: &Graph, weight: ValueId) -> Option<usize> {
    let value = graph.value(weight);
    let mut axes = value.consumers.iter().map(|reader| match reader.slot {
        Slot::Input(slot) => axis_for(graph, reader.node, slot, weight),
        Slot::Capture => None,
    });
    let first = axes.next()??;
    (!value.is_output && axes.all(|axis| axis == Some(first))).then_some(first)
}

/// Source: TensorRT's rules for explicit quantization. The axis is that of the output channels.
fn axis_for(graph: &Graph, reader: NodeId, slot: usize, weight: ValueId) -> Option<usize> {
    if slot != 1 || !graph.domain(reader).is_empty() {
        return None;
    }
    match graph.op_type(reader) {
        "Conv" => Some(0),
        "ConvTranspose" => Some(1),
        "Gemm" => Some(usize::from(graph.attribute_int(reader, "transB").unwrap_or(0) == 0)),
        "MatMul" => (rank(graph, weight)? == 2).then_some(1),
        _ => None,
    }
}

fn rank(graph: &Graph, value: ValueId) -> Option<usize> {
    Some(graph.value(value).ty.as_ref()?.tensor()?.shape.as_ref()?.len())
}
