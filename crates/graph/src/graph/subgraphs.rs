//! What a node's subgraphs read from outside, and renaming of that.
//!
//! A name that a subgraph defines itself hides the outer value of that name; such uses must never be touched.

use std::collections::{HashMap, HashSet};

use crate::proto::{GraphProto, NodeProto};
use crate::visit::{subgraphs, subgraphs_mut};

/// Names that `node`'s subgraphs read without defining them, each once, in order of first use.
pub(crate) fn captured_names(node: &NodeProto) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for graph in subgraphs(node) {
        collect(graph, &mut Vec::new(), &mut |name| {
            if seen.insert(name.to_owned()) {
                found.push(name.to_owned());
            }
        });
    }
    found
}

fn collect<'a>(graph: &'a GraphProto, scopes: &mut Vec<HashSet<&'a str>>, found: &mut dyn FnMut(&'a str)) {
    scopes.push(defined_names(graph).collect());
    let is_free = |scopes: &[HashSet<&str>], name: &str| !name.is_empty() && !scopes.iter().any(|s| s.contains(name));
    for node in &graph.node {
        node.input.iter().filter(|name| is_free(scopes, name)).for_each(|name| found(name));
        for inner in subgraphs(node) {
            collect(inner, scopes, found);
        }
    }
    graph.output.iter().map(|info| info.name()).filter(|name| is_free(scopes, name)).for_each(found);
    scopes.pop();
}

/// Names that `graph` itself gives to values.
pub(crate) fn defined_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|info| info.name());
    let dense = graph.initializer.iter().map(|tensor| tensor.name());
    let sparse = graph.sparse_initializer.iter().map(|sparse| sparse.values.name());
    let made = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
    inputs.chain(dense).chain(sparse).chain(made).filter(|name| !name.is_empty())
}

/// Every name defined anywhere inside `node`'s subgraphs.
pub(crate) fn inner_names(node: &NodeProto) -> Vec<String> {
    let mut names = Vec::new();
    for graph in subgraphs(node) {
        names.extend(defined_names(graph).map(str::to_owned));
        graph.node.iter().for_each(|inner| names.extend(inner_names(inner)));
    }
    names
}

/// Renames captured values at once inside `node`'s subgraphs. Fails with a new name that is hidden where it is needed.
pub(super) fn rename_captures(node: &mut NodeProto, names: &HashMap<String, String>) -> Result<(), String> {
    subgraphs_mut(node).try_for_each(|graph| rename_in(graph, names))
}

fn rename_in(graph: &mut GraphProto, names: &HashMap<String, String>) -> Result<(), String> {
    let defined: HashSet<&str> = defined_names(graph).collect();
    let visible: HashMap<String, String> =
        names.iter().filter(|(old, _)| !defined.contains(old.as_str())).map(|(a, b)| (a.clone(), b.clone())).collect();
    let hidden: HashSet<String> = visible.values().filter(|new| defined.contains(new.as_str())).cloned().collect();
    let rename = |name: &mut String| match visible.get(name.as_str()) {
        Some(new) if hidden.contains(new) => Err(new.clone()),
        Some(new) => {
            name.clone_from(new);
            Ok(())
        }
        None => Ok(()),
    };
    for node in &mut graph.node {
        node.input.iter_mut().try_for_each(rename)?;
        if let Some(name) =
            captured_names(node).iter().filter_map(|name| visible.get(name)).find(|n| hidden.contains(*n))
        {
            return Err(name.clone());
        }
        rename_captures(node, &visible)?;
    }
    graph.output.iter_mut().filter_map(|info| info.name.as_mut()).try_for_each(rename)
}
