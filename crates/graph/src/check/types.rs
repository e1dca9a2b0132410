//! Element types that an operator requires to be equal.

use std::collections::HashMap;

use crate::element::ElementType;
use crate::error::Error;
use crate::graph::{Graph, NodeId, ValueId};
use crate::signatures::{Side, Signature};
use crate::types::ValueType;

/// The first disagreement between the slots of `node`, where both types are known.
pub(crate) fn mixed_types(graph: &Graph, node: NodeId, rules: Signature) -> Option<Error> {
    let inputs = graph.inputs(node).iter().enumerate().map(|(slot, value)| (Side::Input(slot), *value));
    let outputs = graph.outputs(node).iter().enumerate().map(|(slot, value)| (Side::Output(slot), *value));
    let mut groups: HashMap<char, (String, ElementType)> = HashMap::new();
    for (side, value) in inputs.chain(outputs) {
        let Some((letter, value)) = rules.group(side).zip(value) else { continue };
        let Some(element) = element_of(graph, value) else { continue };
        let slot = describe(graph, side, value);
        match groups.get(&letter) {
            None => drop(groups.insert(letter, (slot, element))),
            Some((_, known)) if *known == element => {}
            Some((first, known)) => {
                return Some(Error::MixedTypes {
                    node: graph.node_name(node),
                    operator: graph.op_type(node).to_owned(),
                    first: first.clone(),
                    first_type: *known,
                    second: slot,
                    second_type: element,
                });
            }
        }
    }
    None
}

fn element_of(graph: &Graph, value: ValueId) -> Option<ElementType> {
    graph.value(value).ty.as_ref().and_then(ValueType::element)
}

fn describe(graph: &Graph, side: Side, value: ValueId) -> String {
    let name = &graph.value(value).name;
    match side {
        Side::Input(slot) => format!("input {slot} ({name})"),
        Side::Output(slot) => format!("output {slot} ({name})"),
    }
}
