//! Takes back the casts that ONNX Runtime puts around half-precision nodes.
//!
//! Pattern: its CPU code lacks half-precision versions of most operators, so it runs them in float, between casts named
//! `InsertedPrecisionFreeCast_`, with the float form of value `x` named `InsertedPrecisionFreeCast_x`; casts that cancel
//! out are gone already. A model saved from such a session would quietly have become a float model.
//! Result: float forms are `x` again and the casts are gone. Precondition: names with that prefix are ONNX Runtime's own.
//! Numerical effect: none on the model; it is as it was before.

use trtforge_graph::proto::{GraphProto, NodeProto};
use trtforge_graph::{ElementType, Model, Side, ValueType, signature};

use crate::infer_types::Types;

const PREFIX: &str = "InsertedPrecisionFreeCast_";

/// Undoes the casts in `graph`; constants of the float form are left for the caller to restore by their name.
pub(crate) fn remove_half_casts(graph: &mut GraphProto) {
    for node in &mut graph.node {
        node.input.iter_mut().chain(&mut node.output).for_each(strip);
    }
    graph.node.retain(|node| !(node.op_type() == "Cast" && node.input.first() == node.output.first()));
    for tensor in &mut graph.initializer {
        strip(tensor.name.get_or_insert_default());
    }
    graph.value_info.retain(|value| !value.name().starts_with(PREFIX));
}

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
            let half = tied.any(|(_, input)| types.get(input).and_then(ValueType::element) == Some(ElementType::Float16));
            if half {
                set_element(types, output, ElementType::Float16);
            }
        }
    }
}

/// What a `Cast` makes, which its attribute says for certain.
fn cast_target(node: &NodeProto) -> Option<(&str, ElementType)> {
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

fn strip(name: &mut String) {
    if name.starts_with(PREFIX) {
        name.drain(..PREFIX.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trtforge_graph::construct::node;

    #[test]
    fn values_get_their_names_back_and_casts_go() {
        let float = format!("{PREFIX}x");
        let result = format!("{PREFIX}y");
        let mut graph = GraphProto {
            node: vec![
                node("Cast", &float, ["x"], [float.as_str()]),
                node("Relu", "relu", [float.as_str()], [result.as_str()]),
                node("Cast", &result, [result.as_str()], ["y"]),
                node("Cast", "own", ["y"], ["z"]),
            ],
            ..Default::default()
        };
        remove_half_casts(&mut graph);
        let left: Vec<_> = graph.node.iter().map(|node| (node.op_type(), &*node.input[0], &*node.output[0])).collect();
        assert_eq!(left, [("Relu", "x", "y"), ("Cast", "y", "z")]);
    }
}
