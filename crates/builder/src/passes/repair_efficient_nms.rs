//! Repairs the EfficientNMS_TRT node of DAMO-YOLO's end-to-end export.
//!
//! Pattern: `EfficientNMS_TRT` whose `box_coding` or `background_class` is a list of one number. Result: plain integers, and `box_coding` 0 (corners)
//! where the boxes are computed as corners (`Concat` of a difference and a sum). The export says 1 (centre and size) although its boxes are corners,
//! so every box comes out wrong. Precondition: the attribute lists have one entry. Numerical effect: boxes become what the network meant.

use super::Pass;
use crate::Result;
use trtforge_graph::construct::int;
use trtforge_graph::{Graph, NodeId, Patch, Producer};

const INTEGER_ATTRIBUTES: [&str; 4] = ["box_coding", "background_class", "max_output_boxes", "score_activation"];
const CORNERS: i64 = 0;
const CENTRE_SIZE: i64 = 1;

/// The pass.
pub struct RepairEfficientNms;

impl Pass for RepairEfficientNms {
    fn name(&self) -> &'static str {
        "repair-efficient-nms"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let nodes: Vec<NodeId> = graph.node_ids().filter(|&node| graph.op_type(node) == "EfficientNMS_TRT").collect();
        Ok(nodes.into_iter().filter_map(|node| repair(graph, node)).collect())
    }
}

fn repair(graph: &Graph, node: NodeId) -> Option<Patch> {
    let mut patch = Patch::new(format!("repair attributes of `{}`", crate::precision::node_label(graph, node)));
    let mut changed = false;
    for name in INTEGER_ATTRIBUTES {
        if let Some(&[number]) = graph.attribute_ints(node, name) {
            patch.set_attribute(node, int(name, number));
            changed = true;
        }
    }
    let coding = graph
        .attribute_ints(node, "box_coding")
        .and_then(|list| list.first().copied())
        .or_else(|| graph.attribute_int(node, "box_coding"));
    if coding == Some(CENTRE_SIZE) && boxes_are_corners(graph, node) {
        patch.set_attribute(node, int("box_coding", CORNERS));
        changed = true;
    }
    changed.then_some(patch)
}

/// Boxes written as `Concat(point - distance, point + distance)` are corners.
fn boxes_are_corners(graph: &Graph, node: NodeId) -> bool {
    let Some(concat) = producer(graph, node, 0).map(|found| skip_moves(graph, found)) else { return false };
    if graph.op_type(concat) != "Concat" {
        return false;
    }
    let parts: Vec<&str> = (0..graph.inputs(concat).len())
        .filter_map(|slot| producer(graph, concat, slot))
        .map(|part| graph.op_type(skip_moves(graph, part)))
        .collect();
    parts.contains(&"Sub") && parts.contains(&"Add") && !parts.contains(&"Div")
}

fn skip_moves(graph: &Graph, mut node: NodeId) -> NodeId {
    while matches!(graph.op_type(node), "Reshape" | "Unsqueeze" | "Squeeze" | "Transpose" | "Identity" | "Cast") {
        match producer(graph, node, 0) {
            Some(earlier) => node = earlier,
            None => break,
        }
    }
    node
}

fn producer(graph: &Graph, node: NodeId, slot: usize) -> Option<NodeId> {
    match graph.value(graph.inputs(node).get(slot).copied().flatten()?).producer {
        Producer::Node { node, .. } => Some(node),
        _ => None,
    }
}
