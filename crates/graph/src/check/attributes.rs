//! Attributes hold what their declared type says, each name once.

use std::collections::HashSet;

use super::Findings;
use crate::error::Error;
use crate::graph::display_name;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, NodeProto};
use crate::visit::subgraphs;

/// Checks the attributes of `nodes` and of the nodes inside their subgraphs.
pub(super) fn check_nodes(nodes: &[NodeProto], findings: &mut Findings) {
    for node in nodes {
        check_node(node, findings);
        subgraphs(node).for_each(|graph| check_nodes(&graph.node, findings));
    }
}

fn check_node(node: &NodeProto, findings: &mut Findings) {
    if node.op_type().is_empty() {
        let what = format!("node {:?}", display_name(node));
        findings.error(Error::Incomplete { what, missing: "operator" });
    }
    let mut seen = HashSet::new();
    for attribute in &node.attribute {
        if attribute.name().is_empty() {
            let what = format!("an attribute of node {:?}", display_name(node));
            findings.error(Error::Incomplete { what, missing: "name" });
        } else if !seen.insert(attribute.name()) {
            let (node, attribute) = (display_name(node), attribute.name().to_owned());
            findings.error(Error::DuplicateAttribute { node, attribute });
        }
        check_kind(node, attribute, findings);
    }
}

fn check_kind(node: &NodeProto, attribute: &AttributeProto, findings: &mut Findings) {
    if !attribute.ref_attr_name().is_empty() {
        return;
    }
    let held = held_kinds(attribute);
    let declared = attribute.type_.map(|kind| kind.enum_value());
    let agrees = match declared {
        None | Some(Ok(AttributeType::UNDEFINED)) => held.len() <= 1,
        Some(Err(_)) => true,
        Some(Ok(kind)) => held == [kind] || (held.is_empty() && may_be_absent(kind)),
    };
    if !agrees {
        findings.error(Error::AttributeType {
            node: display_name(node),
            attribute: attribute.name().to_owned(),
            declared: declared.map_or("without a type".to_owned(), |kind| format!("{kind:?}").replace("Ok", "")),
            held: format!("{held:?}"),
        });
    }
}

/// An empty list has no bytes, and some writers leave out zeros and empty strings.
fn may_be_absent(kind: AttributeType) -> bool {
    use AttributeType::*;
    !matches!(kind, TENSOR | GRAPH | SPARSE_TENSOR | TYPE_PROTO)
}

fn held_kinds(attribute: &AttributeProto) -> Vec<AttributeType> {
    use AttributeType::*;
    let kinds = [
        (attribute.f.is_some(), FLOAT),
        (attribute.i.is_some(), INT),
        (attribute.s.is_some(), STRING),
        (attribute.t.is_some(), TENSOR),
        (attribute.g.is_some(), GRAPH),
        (!attribute.floats.is_empty(), FLOATS),
        (!attribute.ints.is_empty(), INTS),
        (!attribute.strings.is_empty(), STRINGS),
        (!attribute.tensors.is_empty(), TENSORS),
        (!attribute.graphs.is_empty(), GRAPHS),
        (attribute.sparse_tensor.is_some(), SPARSE_TENSOR),
        (!attribute.sparse_tensors.is_empty(), SPARSE_TENSORS),
        (attribute.tp.is_some(), TYPE_PROTO),
        (!attribute.type_protos.is_empty(), TYPE_PROTOS),
    ];
    kinds.into_iter().filter(|(held, _)| *held).map(|(_, kind)| kind).collect()
}
