//! Where a network can be cut into bands, found from its structure: names play no part.

use super::Banding;
use super::estimate::{estimated_activation, estimated_activation_until};
use crate::Result;
use crate::passes::lean::{BandRows, Reach, Segment};
use std::collections::HashSet;
use trtforge_graph::{Graph, NodeId, ValueId};

/// Where in a network to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Parts that begin at the network's inputs: everything up to a tensor that all paths pass through.
    Beginning,
    /// Parts further in that hold the kernel which needs most memory.
    Peak,
}

/// Rows below which cutting a tensor saves next to nothing.
const FEWEST_ROWS: u64 = 16;

/// Parts to compute in `bands` bands, those that the estimate likes best first; none that it does not expect to win anything from.
///
/// # Errors
/// [`crate::Error::Pass`] where the graph refuses a rewrite.
pub fn candidates(graph: &Graph, place: Place, bands: u64) -> Result<Vec<Banding>> {
    let peak: HashSet<NodeId> = estimated_activation(graph).1.into_iter().collect();
    let holds_peak = |segment: &Segment| place == Place::Beginning || segment.nodes().any(|node| peak.contains(&node));
    let parts: Vec<_> = segments(graph, place).into_iter().filter(|(_, _, segment)| holds_peak(segment)).collect();
    // What comes behind the last possible end is the same for all of them, and may need more than any.
    let Some(last) = parts.last().map(|(name, ..)| name.clone()) else { return Ok(vec![]) };
    let estimate = |graph: &Graph| match place {
        Place::Beginning => graph.value_id(&last).map_or(0, |last| estimated_activation_until(graph, last)),
        Place::Peak => estimated_activation(graph).0,
    };
    let before = estimate(graph);
    let mut found = Vec::new();
    for (name, reach, segment) in parts {
        let mut cut = graph.clone();
        if (BandRows { segment: &segment, bands }).apply(&mut cut)? {
            found.push((estimate(&cut), segment.nodes().count(), Banding { end: name, reach, bands }));
        }
    }
    found.retain(|&(estimate, ..)| estimate < before);
    found.sort_by_key(|&(estimate, nodes, _)| (estimate, nodes));
    let mut ends = HashSet::new();
    found.retain(|(_, _, banding)| ends.insert(banding.end.clone()));
    Ok(found.into_iter().map(|(_, _, banding)| banding).collect())
}

fn segments(graph: &Graph, place: Place) -> Vec<(String, Reach, Segment)> {
    let reaches: &[Reach] = match place {
        Place::Beginning => &[Reach::Whole],
        Place::Peak => &[Reach::SameHeight, Reach::Whole],
    };
    let ends = graph.node_ids().filter_map(|node| graph.output(node, 0)).filter(|&end| is_end(graph, end));
    let mut segments = Vec::new();
    let mut seen = HashSet::new();
    for end in ends {
        for &reach in reaches {
            let Some(segment) = Segment::behind(graph, end, reach) else { continue };
            let fits = segment.height() >= FEWEST_ROWS
                && segment.begins_at_inputs(graph) == (place == Place::Beginning)
                && segment.nodes().any(|node| graph.op_type(node) == "Conv");
            let key = (segment.end(), segment.nodes().count());
            if fits && seen.insert(key) {
                segments.push((graph.value(end).name.clone(), reach, segment));
            }
        }
    }
    segments
}

/// Operators that run in the kernel of what they read.
const FUSED: &[&str] =
    &["Relu", "Sigmoid", "Mul", "LeakyRelu", "PRelu", "HardSwish", "HardSigmoid", "Clip", "Cast", "BatchNormalization"];

/// Whether a value is one that a kernel writes, and one of the network before it was quantized: what only a fused node reads is finished by that node.
fn is_end(graph: &Graph, value: ValueId) -> bool {
    let op = |node: NodeId| graph.op_type(node);
    let quantization =
        graph.producer(value).is_some_and(|node| matches!(op(node), "QuantizeLinear" | "DequantizeLinear"));
    let users = &graph.value(value).consumers;
    !quantization && (users.is_empty() || users.iter().any(|user| !FUSED.contains(&op(user.node))))
}
