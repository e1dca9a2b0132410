//! Removes nodes that hand their input on unchanged.
//!
//! Pattern: Identity; Dropout without a used mask outside training. Result: users read the input. Precondition: the output is no model output
//! (that would need the input renamed). Numerical effect: none.

use super::Pass;
use crate::Result;
use trtforge_graph::{Graph, NodeId, Patch, ValueId};

/// The pass.
pub struct RemoveIdentities;

impl Pass for RemoveIdentities {
    fn name(&self) -> &'static str {
        "remove-identities"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let nodes: Vec<NodeId> = graph.node_ids().filter(|&node| hands_on(graph, node)).collect();
        Ok(nodes.into_iter().filter_map(|node| bypass(graph, node)).collect())
    }

    fn max_rounds(&self) -> usize {
        64
    }
}

fn hands_on(graph: &Graph, node: NodeId) -> bool {
    if !graph.domain(node).is_empty() {
        return false;
    }
    match graph.op_type(node) {
        "Identity" => true,
        "Dropout" => mask_unused(graph, node) && !trains(graph, node),
        _ => false,
    }
}

fn mask_unused(graph: &Graph, node: NodeId) -> bool {
    let mask = graph.outputs(node).get(1).copied().flatten();
    mask.is_none_or(|mask| graph.value(mask).consumers.is_empty() && !graph.value(mask).is_output)
}

fn trains(graph: &Graph, node: NodeId) -> bool {
    graph.inputs(node).get(2).copied().flatten().is_some() || graph.attribute_int(node, "is_test") == Some(0)
}

fn bypass(graph: &Graph, node: NodeId) -> Option<Patch> {
    let input: ValueId = graph.inputs(node).first().copied().flatten()?;
    let output = graph.outputs(node).first().copied().flatten()?;
    if graph.value(output).is_output || graph.value(output).consumers.is_empty() {
        return None;
    }
    let mut patch = Patch::new(format!("bypass `{}`", graph.value(output).name));
    patch.redirect(output, &graph.value(input).name);
    Some(patch)
}
