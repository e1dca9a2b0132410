//! Names and edges of a graph and of the graphs inside it: each value made once, nothing read that is not made, no
//! circles.
//!
//! A graph inside a node sees the values around it. Nothing outside sees into it.

use std::collections::{HashMap, HashSet};

use super::Findings;
use crate::error::Error;
use crate::graph::display_name;
use crate::graph::order;
use crate::graph::subgraphs::{captured_names, defined_names};
use crate::proto::{FunctionProto, GraphProto, NodeProto};
use crate::visit::subgraphs;

/// The names visible at a place, innermost scope last.
pub(super) struct Scopes<'a> {
    stack: Vec<HashSet<&'a str>>,
}

impl<'a> Scopes<'a> {
    pub(super) fn new() -> Self {
        Self { stack: Vec::new() }
    }

    pub(super) fn check_graph(&mut self, graph: &'a GraphProto, findings: &mut Findings) {
        check_duplicates(graph, findings);
        self.stack.push(defined_names(graph).collect());
        self.check_nodes(&graph.node, findings);
        for output in &graph.output {
            self.check_read(output.name(), || format!("output of graph {:?}", graph.name()), findings);
        }
        self.stack.pop();
    }

    pub(super) fn check_function(&mut self, function: &'a FunctionProto, findings: &mut Findings) {
        let inputs = function.input.iter().map(String::as_str);
        let made = function.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
        self.stack.push(inputs.chain(made).collect());
        self.check_nodes(&function.node, findings);
        for output in &function.output {
            self.check_read(output, || format!("output of function {:?}", function.name()), findings);
        }
        self.stack.pop();
    }

    fn check_nodes(&mut self, nodes: &'a [NodeProto], findings: &mut Findings) {
        for node in nodes {
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                self.check_read(input, || format!("node {:?}", display_name(node)), findings);
            }
            subgraphs(node).for_each(|graph| self.check_graph(graph, findings));
        }
        check_node_names(nodes, findings);
        check_cycles(nodes, findings);
    }

    fn check_read(&self, name: &str, reader: impl Fn() -> String, findings: &mut Findings) {
        if !self.stack.iter().any(|scope| scope.contains(name)) {
            findings.error(Error::DanglingInput { value: name.to_owned(), reader: reader() });
        }
    }
}

fn check_duplicates(graph: &GraphProto, findings: &mut Findings) {
    let mut producers: HashMap<&str, String> = HashMap::new();
    let inputs = graph.input.iter().map(|info| (info.name(), "a graph input".to_owned()));
    for (name, producer) in inputs {
        note(name, producer, &mut producers, findings);
    }
    let mut stored = HashSet::new();
    let sparse = graph.sparse_initializer.iter().map(|sparse| sparse.values.name());
    for name in graph.initializer.iter().map(|tensor| tensor.name()).chain(sparse) {
        if name.is_empty() {
            findings.error(Error::Incomplete { what: "an initializer".to_owned(), missing: "name" });
        } else if !stored.insert(name) {
            let (first, second) = ("an initializer".to_owned(), "an initializer".to_owned());
            findings.error(Error::DuplicateValue { value: name.to_owned(), first, second });
        }
    }
    stored.into_iter().for_each(|name| drop(producers.insert(name, "an initializer".to_owned())));
    for node in &graph.node {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            note(name, format!("node {:?}", display_name(node)), &mut producers, findings);
        }
    }
}

fn note<'a>(name: &'a str, producer: String, producers: &mut HashMap<&'a str, String>, findings: &mut Findings) {
    if name.is_empty() {
        return findings.error(Error::Incomplete { what: producer, missing: "name" });
    }
    if let Some(first) = producers.get(name) {
        let (value, first) = (name.to_owned(), first.clone());
        return findings.error(Error::DuplicateValue { value, first, second: producer });
    }
    producers.insert(name, producer);
}

fn check_node_names(nodes: &[NodeProto], findings: &mut Findings) {
    let mut seen = HashSet::new();
    for name in nodes.iter().map(|node| node.name()).filter(|name| !name.is_empty()) {
        if !seen.insert(name) {
            findings.warning(Error::DuplicateNode { node: name.to_owned() });
        }
    }
}

fn check_cycles(nodes: &[NodeProto], findings: &mut Findings) {
    let mut makers = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().map(|name| (name.as_str(), index as u32)));
    }
    let before: Vec<Vec<u32>> = nodes.iter().map(|node| predecessors(node, &makers)).collect();
    let in_order = before.iter().enumerate().all(|(index, list)| list.iter().all(|&maker| (maker as usize) < index));
    if in_order {
        return;
    }
    let items: Vec<u32> = (0..nodes.len() as u32).collect();
    if let Err(cycle) = order::sort(&items, |index| before[index as usize].iter().copied()) {
        let nodes = cycle.iter().map(|&index| display_name(&nodes[index as usize])).collect();
        findings.error(Error::Cycle { nodes });
    }
}

fn predecessors(node: &NodeProto, makers: &HashMap<&str, u32>) -> Vec<u32> {
    let captured = captured_names(node);
    let names = node.input.iter().chain(&captured).filter(|name| !name.is_empty());
    names.filter_map(|name| makers.get(name.as_str()).copied()).collect()
}
