//! Puts nodes back into the order that the model had them in, as far as their inputs allow.
//!
//! ONNX Runtime orders a saved graph its own way, so that equal graphs come out in different orders. The order of nodes
//! decides how long values live, and it is what a person compares. It must stay topological.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use trtforge_graph::proto::{GraphProto, NodeProto};

/// Orders `nodes`, which are in some topological order, by their place in `original`; new nodes follow what they read.
pub(crate) fn restore_order(original: &[NodeProto], nodes: Vec<NodeProto>) -> Vec<NodeProto> {
    let producers = producers(&nodes);
    let inputs: Vec<Vec<usize>> = nodes.iter().map(|node| read_nodes(node, &producers)).collect();
    let places = places(original, &nodes, &inputs);
    let mut readers = vec![Vec::new(); nodes.len()];
    let mut waiting: Vec<usize> = inputs.iter().map(Vec::len).collect();
    for (node, input) in inputs.iter().enumerate().flat_map(|(node, inputs)| inputs.iter().map(move |&i| (node, i))) {
        readers[input].push(node);
    }
    let entry = |node: usize| Reverse((places[node], node));
    let mut ready: BinaryHeap<_> = (0..nodes.len()).filter(|&node| waiting[node] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse((_, node))) = ready.pop() {
        order.push(node);
        for &reader in &readers[node] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(entry(reader));
            }
        }
    }
    let mut nodes: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|node| nodes[node].take()).collect()
}

fn producers(nodes: &[NodeProto]) -> HashMap<String, usize> {
    let made = nodes.iter().enumerate().flat_map(|(at, node)| node.output.iter().map(move |name| (name, at)));
    made.filter(|(name, _)| !name.is_empty()).map(|(name, at)| (name.clone(), at)).collect()
}

/// The nodes that `node` reads from, each once, those that its subgraphs read from included.
fn read_nodes(node: &NodeProto, producers: &HashMap<String, usize>) -> Vec<usize> {
    let mut found = Vec::new();
    add_reads(node, producers, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn add_reads(node: &NodeProto, producers: &HashMap<String, usize>, found: &mut Vec<usize>) {
    found.extend(node.input.iter().filter_map(|name| producers.get(name)));
    let graphs = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    for graph in graphs {
        add_graph_reads(graph, producers, found);
    }
}

fn add_graph_reads(graph: &GraphProto, producers: &HashMap<String, usize>, found: &mut Vec<usize>) {
    found.extend(graph.output.iter().filter_map(|output| producers.get(output.name())));
    for node in &graph.node {
        add_reads(node, producers, found);
    }
}

/// For each node its index in `original`, or that of the last node it reads from.
fn places(original: &[NodeProto], nodes: &[NodeProto], inputs: &[Vec<usize>]) -> Vec<usize> {
    let made =
        original.iter().enumerate().flat_map(|(at, node)| node.output.iter().map(move |name| (name.as_str(), at)));
    let index: HashMap<&str, usize> = made.filter(|(name, _)| !name.is_empty()).collect();
    let mut places: Vec<usize> = Vec::with_capacity(nodes.len());
    for (node, inputs) in nodes.iter().zip(inputs) {
        let own = node.output.iter().find_map(|name| index.get(name.as_str()).copied());
        let after = || inputs.iter().filter_map(|&input| places.get(input).copied()).max().unwrap_or(0);
        places.push(own.unwrap_or_else(after));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use trtforge_graph::construct::node;

    #[test]
    fn old_nodes_keep_their_order_and_new_ones_follow_their_inputs() {
        let relu = |from: &str, to: &str| node("Relu", to, [from], [to]);
        let original = [relu("x", "a"), relu("x", "b"), relu("a", "c"), relu("b", "d")];
        let saved = vec![relu("x", "b"), relu("b", "new"), relu("new", "d"), relu("x", "a"), relu("a", "c")];
        let order: Vec<String> = restore_order(&original, saved).iter().map(|node| node.name().to_owned()).collect();
        assert_eq!(order, ["a", "b", "new", "c", "d"]);
    }

    #[test]
    fn what_a_subgraph_reads_comes_first() {
        let inner = GraphProto { node: vec![node("Relu", "inner", ["late"], ["r"])], ..Default::default() };
        let branch = node("If", "branch", ["condition"], ["y"]).attr_graph("then_branch", inner);
        let late = node("Relu", "late", ["x"], ["late"]);
        let original = [branch.clone(), late.clone()];
        let order = restore_order(&original, vec![late, branch]);
        assert_eq!(order[0].name(), "late");
    }
}
