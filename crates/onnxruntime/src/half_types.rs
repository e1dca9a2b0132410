//! The types of values in a model that computes in half precision.
//!
//! ONNX Runtime lacks half-precision versions of most operators on a CPU, so it runs them in float between casts of its
//! own, drops the casts that then cancel out, and reports the types of that run. Here the model's own types come back.

use trtforge_graph::proto::NodeProto;
use trtforge_graph::{ElementType, Model, Side, ValueType, signature};

use crate::infer_types::Types;

/// Gives results of half-precision nodes that ONNX Runtime calls float their type back: an output takes the element type
/// of the inputs that its operator ties it to. Nodes must be in topological order.
pub(crate) fn restore_half_types(model: &Model, types: &mut Types) {
    let opset = model.opset("").unwrap_or(1);
    for node in &model.proto().graph.node {
        if let Some((output, element)) = cast_target(node) {
            set_element(types, output, element);
            continue;
        }
        let Some(rules) = signature(node.domain(), node.op_type(), opset) else { continue };
        for (slot, output) in node.output.iter().enumerate() {
            let Some(group) = rules.group(Side::Output(slot)) else { continue };
            let inputs = node.input.iter().enumerate();
            let mut tied = inputs.filter(|(slot, _)| rules.group(Side::Input(*slot)) == Some(group));
            let half =
                tied.any(|(_, input)| types.get(input).and_then(ValueType::element) == Some(ElementType::Float16));
            if half {
                set_element(types, output, ElementType::Float16);
            }
        }
    }
}

/// What a `Cast` makes, which its attribute says for certain.
pub(crate) fn cast_target(node: &NodeProto) -> Option<(&str, ElementType)> {
    if node.op_type() != "Cast" || !node.domain().is_empty() {
        return None;
    }
    let to = node.attribute.iter().find(|attribute| attribute.name() == "to")?;
    Some((node.output.first()?, ElementType::from_onnx(i32::try_from(to.i?).ok()?)))
}

fn set_element(types: &mut Types, value: &str, element: ElementType) {
    if let Some(ValueType::Tensor(ty)) = types.get_mut(value) {
        ty.element = element;
    }
}
