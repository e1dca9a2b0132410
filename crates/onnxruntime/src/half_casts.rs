//! Takes back the casts that ONNX Runtime puts around half-precision nodes.
//!
//! Pattern: its CPU code lacks half-precision versions of most operators, so it runs them in float, between casts named
//! `InsertedPrecisionFreeCast_`, with the float form of value `x` named `InsertedPrecisionFreeCast_x`; casts that cancel
//! out are gone already. A model saved from such a session would quietly have become a float model.
//! Result: float forms are `x` again and the casts are gone. Precondition: names with that prefix are ONNX Runtime's own.
//! Numerical effect: none on the model; it is as it was before.

use trtforge_graph::proto::GraphProto;

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
