//! In which precision a model's heavy operators keep their weights.
//!
//! Weighted by parameters, because a count of nodes says little about a network whose layers differ a thousandfold.

use serde::Serialize;
use std::collections::BTreeMap;
use trtforge_graph::{ElementType, Graph, NodeId, Producer, ValueId, ValueType};

/// Operators whose second input is their weight.
const HEAVY: [&str; 7] = ["Conv", "ConvTranspose", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "DeformConv"];

/// Operators that only bring a stored weight into another form.
const TRANSPARENT: [&str; 5] = ["DequantizeLinear", "Cast", "Identity", "Transpose", "Reshape"];

/// Longest chain of such operators that is followed; real exports have two or three.
const LONGEST_CHAIN: usize = 8;

/// One element type's part.
#[derive(Debug, PartialEq, Serialize)]
pub struct Share {
    /// Element type the weights are stored in.
    pub element: String,
    /// Convolutions and matrix products with such weights.
    pub nodes: u64,
    /// Their parameters.
    pub parameters: u64,
    /// Parameters as a fraction of all.
    pub fraction: f64,
}

/// The parts, largest first.
pub fn shares(graph: &Graph) -> Vec<Share> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (element, parameters) in graph.node_ids().filter_map(|node| weight_of(graph, node)) {
        let entry = found.entry(element.to_string()).or_default();
        entry.0 += 1;
        entry.1 += parameters;
    }
    let total: u64 = found.values().map(|(_, parameters)| parameters).sum();
    let mut shares: Vec<Share> = found
        .into_iter()
        .map(|(element, (nodes, parameters))| Share {
            element,
            nodes,
            parameters,
            fraction: parameters as f64 / total.max(1) as f64,
        })
        .collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.parameters));
    shares
}

fn weight_of(graph: &Graph, node: NodeId) -> Option<(ElementType, u64)> {
    let heavy = graph.domain(node).is_empty() && HEAVY.contains(&graph.op_type(node));
    let mut value = heavy.then(|| graph.inputs(node).get(1).copied().flatten()).flatten()?;
    for _ in 0..LONGEST_CHAIN {
        match graph.value(value).producer {
            Producer::Initializer => return stored(graph, value),
            Producer::Node { node, .. } if graph.op_type(node) == "Constant" => return stored(graph, value),
            Producer::Node { node, .. } if TRANSPARENT.contains(&graph.op_type(node)) => {
                value = (*graph.inputs(node).first()?)?;
            }
            _ => return None,
        }
    }
    None
}

fn stored(graph: &Graph, value: ValueId) -> Option<(ElementType, u64)> {
    match graph.value(value).ty.as_ref()? {
        ValueType::Tensor(ty) => Some((ty.element, ty.element_count()?)),
        ValueType::Other(_) => None,
    }
}

/// The parts in one line.
pub fn text(shares: &[Share]) -> String {
    if shares.is_empty() {
        return "no convolutions or matrix products with stored weights".to_owned();
    }
    let part = |share: &Share| format!("{:.1}% {} ({} nodes)", share.fraction * 100.0, share.element, share.nodes);
    let parts: Vec<String> = shares.iter().map(part).collect();
    format!("{} of convolution and matrix weights", parts.join(", "))
}
