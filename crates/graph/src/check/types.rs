//! Element types that an operator requires to be equal.

use std::collections::HashMap;

use super::Findings;
use crate::element::ElementType;
use crate::error::Error;
use crate::graph::display_name;
use crate::model::{normal_domain, opset};
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::signatures::{Side, Signature, signature};
use crate::types::ValueType;

/// Checks the nodes of the main graph where the model says what types its values have.
pub(super) fn check_graph(model: &ModelProto, graph: &GraphProto, findings: &mut Findings) {
    let known = known_elements(graph);
    for node in &graph.node {
        let version = opset(model, normal_domain(node.domain())).unwrap_or(i64::MAX);
        let Some(rules) = signature(node.domain(), node.op_type(), version) else { continue };
        if let Some(problem) = mixed_types(node, rules, |_, name| known.get(name).copied()) {
            findings.error(problem);
        }
    }
}

fn known_elements(graph: &GraphProto) -> HashMap<&str, ElementType> {
    let infos = graph.value_info.iter().chain(&graph.output).chain(&graph.input);
    let mut known: HashMap<&str, ElementType> = infos.filter_map(declared_element).collect();
    for tensor in &graph.initializer {
        known.insert(tensor.name(), ElementType::from_onnx(tensor.data_type()));
    }
    known
}

fn declared_element(info: &ValueInfoProto) -> Option<(&str, ElementType)> {
    Some((info.name(), ValueType::from_proto(info.type_.as_ref()?)?.element()?))
}

/// The first disagreement between the slots of `node`, where both types are known.
pub(crate) fn mixed_types(
    node: &NodeProto,
    rules: Signature,
    element_of: impl Fn(Side, &str) -> Option<ElementType>,
) -> Option<Error> {
    let inputs = node.input.iter().enumerate().map(|(slot, value)| (Side::Input(slot), value));
    let outputs = node.output.iter().enumerate().map(|(slot, value)| (Side::Output(slot), value));
    let mut groups: Vec<(char, Side, &str, ElementType)> = Vec::new();
    for (side, value) in inputs.chain(outputs).filter(|(_, value)| !value.is_empty()) {
        let Some(letter) = rules.group(side) else { continue };
        let Some(element) = element_of(side, value) else { continue };
        match groups.iter().find(|group| group.0 == letter) {
            None => groups.push((letter, side, value, element)),
            Some((.., known)) if *known == element => {}
            Some((_, first, first_value, known)) => {
                return Some(Error::MixedTypes {
                    node: display_name(node),
                    operator: node.op_type().to_owned(),
                    first: describe(*first, first_value),
                    first_type: *known,
                    second: describe(side, value),
                    second_type: element,
                });
            }
        }
    }
    None
}

fn describe(side: Side, name: &str) -> String {
    match side {
        Side::Input(slot) => format!("input {slot} ({name})"),
        Side::Output(slot) => format!("output {slot} ({name})"),
    }
}
