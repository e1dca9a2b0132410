//! How much of a network's arithmetic each node does.

use std::collections::HashMap;
use trtforge_graph::{Graph, NodeId, ValueType};

/// Multiply-accumulate operations of the nodes with weights.
#[derive(Clone, Debug, Default)]
pub struct Work {
    by_node: HashMap<NodeId, f64>,
    total: f64,
}

impl Work {
    /// Counts over a graph whose values have types. Open dimensions count as 1, which leaves the ratios as they are.
    pub fn of(graph: &Graph) -> Work {
        Work::sum(graph, |node| operations(graph, node))
    }

    /// The same for the bytes of weights: what nodes take in memory instead of time.
    pub fn of_bytes(graph: &Graph) -> Work {
        Work::sum(graph, |node| Some(graph.constant(graph.input(node, 1)?)?.shape.iter().product::<u64>() as f64))
    }

    fn sum(graph: &Graph, of_node: impl Fn(NodeId) -> Option<f64>) -> Work {
        let mut work = Work::default();
        for node in graph.node_ids().filter(|&node| super::policy::is_weighted(graph, node)) {
            if let Some(operations) = of_node(node) {
                work.by_node.insert(node, operations);
                work.total += operations;
            }
        }
        work
    }

    /// Multiply-accumulate operations of one run.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Share of one node, from 0 to 1.
    pub fn share(&self, node: NodeId) -> f64 {
        self.by_node.get(&node).map_or(0.0, |operations| operations / self.total)
    }

    /// Share of several nodes.
    pub fn share_of(&self, nodes: impl IntoIterator<Item = NodeId>) -> f64 {
        nodes.into_iter().map(|node| self.share(node)).sum()
    }
}

fn operations(graph: &Graph, node: NodeId) -> Option<f64> {
    let count = |slot: Option<trtforge_graph::ValueId>| match &graph.value(slot?).ty {
        Some(ValueType::Tensor(ty)) => {
            Some(ty.shape.as_ref()?.iter().map(|dimension| dimension.fixed().unwrap_or(1) as f64).collect::<Vec<_>>())
        }
        _ => None,
    };
    let (input, weight, output) =
        (count(graph.input(node, 0))?, count(graph.input(node, 1))?, count(graph.output(node, 0))?);
    let product = |shape: &[f64]| shape.iter().product::<f64>();
    Some(match graph.op_type(node) {
        "Conv" => product(&output) * product(weight.get(1..)?),
        "ConvTranspose" => product(&input) * product(weight.get(1..)?),
        _ => product(&output) * input.last()?,
    })
}
