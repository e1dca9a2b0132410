//! A 32-bit model that computes what a half-precision model computes: every half value is rounded where the half model would round it.
//!
//! Why: ONNX Runtime has few half-precision kernels on a CPU. For the others it casts to 32 bits before the node and back behind it, and then removes the casts
//! between neighbours, so that a half-precision model on a CPU runs in 32 bits from end to end and its error is hidden. The pair of casts written here
//! (32 -> 16 -> 32 bits) is kept at every optimisation level, so the rounding is real. Sums inside one node stay in 32 bits, as tensor cores do it.
//!
//! Pattern: a value of type half. Result: a 32-bit value, rounded behind every node that computes (nodes that only move or select data write rounded values anyway).
//! Used for verification only; it must never end up in an output file.

use crate::{Error, Result};
use trtforge_graph::construct::{int, node, tensor_attribute};
use trtforge_graph::proto::{AttributeProto, NodeProto, TensorProto};
use trtforge_graph::{ElementType, Graph, Model, NodeId, Tensor, ValueId, ValueType};

const HALF: i64 = 10;
const FLOAT: i64 = 1;

/// Operators whose output holds only numbers that their inputs held.
const EXACT: &[&str] = &[
    "Reshape",
    "Transpose",
    "Slice",
    "Concat",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "MaxPool",
    "Relu",
    "Identity",
    "Expand",
    "Tile",
    "Pad",
    "Where",
    "Max",
    "Min",
    "Clip",
    "Neg",
    "Abs",
    "DepthToSpace",
    "SpaceToDepth",
    "GlobalMaxPool",
    "ReduceMax",
    "ReduceMin",
    "TopK",
    "Dropout",
    "ConstantOfShape",
];

/// Builds the emulation, or `None` where the model has no half-precision value at all.
///
/// # Errors
/// [`Error::UnknownType`] where a value's type is not known.
pub fn emulate_half(graph: &Graph, model: &Model) -> Result<Option<Model>> {
    if !has_half(graph) {
        return Ok(None);
    }
    let mut emulated = model.clone();
    let target = emulated.proto_mut().graph.mut_or_insert_default();
    for tensor in &mut target.initializer {
        widen_tensor(tensor);
    }
    target.value_info.clear();
    let mut nodes = entry_casts(graph);
    for id in graph.node_ids() {
        emulate_node(graph, id, &mut nodes)?;
    }
    nodes.extend(exit_casts(graph));
    target.node = nodes;
    Ok(Some(emulated))
}

fn has_half(graph: &Graph) -> bool {
    let produced = graph.node_ids().flat_map(|node| graph.outputs(node).iter().flatten().copied().collect::<Vec<_>>());
    produced.chain(graph.graph_inputs().iter().copied()).any(|value| is_half(graph, value))
}

fn is_half(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).ty.as_ref().and_then(ValueType::element) == Some(ElementType::Float16)
}

fn name(graph: &Graph, value: ValueId) -> &str {
    &graph.value(value).name
}

/// The name under which the emulation holds the 32-bit form of a half value. Model inputs and outputs keep their half type, so their 32-bit form needs another name.
fn wide_name(graph: &Graph, value: ValueId) -> String {
    let at_border = graph.value(value).is_output || graph.graph_inputs().contains(&value);
    if is_half(graph, value) && at_border {
        format!("{}__wide", name(graph, value))
    } else {
        name(graph, value).to_owned()
    }
}

fn entry_casts(graph: &Graph) -> Vec<NodeProto> {
    let halves = graph.graph_inputs().iter().copied().filter(|&value| is_half(graph, value));
    halves.map(|value| cast(name(graph, value), &wide_name(graph, value), FLOAT)).collect()
}

fn exit_casts(graph: &Graph) -> Vec<NodeProto> {
    let halves = graph.graph_outputs().iter().copied().filter(|&value| is_half(graph, value));
    halves.map(|value| cast(&wide_name(graph, value), name(graph, value), HALF)).collect()
}

fn cast(from: &str, to: &str, element: i64) -> NodeProto {
    node("Cast", &format!("{to}__emulated_cast"), [from], [to]).attr_int("to", element)
}

fn emulate_node(graph: &Graph, id: NodeId, nodes: &mut Vec<NodeProto>) -> Result<()> {
    let mut copy = graph.node(id).clone();
    for (slot, value) in graph.inputs(id).iter().enumerate() {
        if let Some(value) = value {
            copy.input[slot] = wide_name(graph, *value);
        }
    }
    widen_attributes(&mut copy);
    let mut roundings = Vec::new();
    for (slot, value) in graph.outputs(id).iter().enumerate() {
        let Some(value) = *value else { continue };
        if graph.value(value).ty.is_none() && graph.inputs(id).iter().flatten().any(|&input| is_half(graph, input)) {
            return Err(Error::UnknownType {
                value: name(graph, value).to_owned(),
                node: crate::precision::node_label(graph, id),
            });
        }
        let wide = wide_name(graph, value);
        if is_half(graph, value) && !EXACT.contains(&graph.op_type(id)) {
            let (raw, rounded) = (format!("{wide}__raw"), format!("{wide}__rounded"));
            roundings.extend([cast(&raw, &rounded, HALF), cast(&rounded, &wide, FLOAT)]);
            copy.output[slot] = raw;
        } else {
            copy.output[slot] = wide;
        }
    }
    nodes.push(copy);
    nodes.append(&mut roundings);
    Ok(())
}

/// Half-precision types and constants that a node carries in its attributes.
fn widen_attributes(node: &mut NodeProto) {
    let typed = matches!(
        node.op_type.as_deref(),
        Some(
            "Cast"
                | "EyeLike"
                | "RandomNormal"
                | "RandomUniform"
                | "RandomNormalLike"
                | "RandomUniformLike"
                | "DequantizeLinear"
        )
    );
    for attribute in &mut node.attribute {
        let attribute_name = attribute.name.clone().unwrap_or_default();
        if typed && matches!(attribute_name.as_str(), "to" | "dtype" | "output_dtype") && attribute.i == Some(HALF) {
            *attribute = int(&attribute_name, FLOAT);
        } else if holds_half(attribute)
            && let Some(tensor) = attribute.t.as_mut()
        {
            widen_tensor(tensor);
            *attribute = tensor_attribute(&attribute_name, tensor.clone());
        }
    }
}

fn holds_half(attribute: &AttributeProto) -> bool {
    attribute.t.as_ref().is_some_and(|tensor| i64::from(tensor.data_type()) == HALF)
}

fn widen_tensor(tensor: &mut TensorProto) {
    if i64::from(tensor.data_type()) != HALF {
        return;
    }
    let wide = Tensor::from_proto(tensor).and_then(|half| Tensor::from_vec(half.shape.clone(), half.to_vec_f32()?));
    if let Ok(wide) = wide {
        *tensor = wide.to_proto(tensor.name());
    }
}
