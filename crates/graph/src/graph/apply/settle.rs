//! Brings what follows from an edit up to date: names in the protobuf forms, edges of subgraphs, the running order.

use std::collections::{HashMap, HashSet};

use super::{Edit, Outcome, invalid};
use crate::error::PatchError;
use crate::graph::subgraphs::{inner_names, rename_captures};
use crate::graph::{Node, NodeId, ValueId, display_name, order};

impl Edit<'_> {
    /// Writes the names of values into the protobuf forms of all touched nodes.
    pub(super) fn write_names(&mut self) -> Outcome {
        let new = (self.first_new_node..self.graph.nodes.len()).map(|index| NodeId(index as u32));
        let touched: Vec<NodeId> = self.nodes.keys().copied().chain(new).collect();
        for node in touched {
            let Some(mut entry) = self.graph.nodes[node.index()].take() else { continue };
            let name = |value: &Option<ValueId>| value.map_or_else(String::new, |id| self.graph.value(id).name.clone());
            entry.proto.input = entry.inputs.iter().map(name).collect();
            entry.proto.output = entry.outputs.iter().map(name).collect();
            let renamed = self.rename_inside(node, &mut entry);
            self.graph.nodes[node.index()] = Some(entry);
            renamed?;
        }
        Ok(())
    }

    fn rename_inside(&self, node: NodeId, entry: &mut Node) -> Outcome {
        let Some(old_names) = self.capture_names.get(&node).filter(|_| !self.new_subgraphs.contains(&node)) else {
            return Ok(());
        };
        let pairs =
            old_names.iter().zip(&entry.captures).map(|(old, &id)| (old.clone(), self.graph.value(id).name.clone()));
        let names: HashMap<String, String> = pairs.filter(|(old, new)| old != new).collect();
        let mut seen = HashSet::new();
        entry.captures.retain(|&value| seen.insert(value));
        if names.is_empty() {
            return Ok(());
        }
        let name = display_name(&entry.proto);
        rename_captures(&mut entry.proto, &names).map_err(|value| PatchError::Hidden { node: name, value })
    }

    pub(super) fn relink_subgraphs(&mut self) -> Outcome {
        for node in std::mem::take(&mut self.new_subgraphs) {
            let inputs = self.graph.inputs(node).to_vec();
            let names = inner_names(self.graph.node(node));
            self.graph.reserved.extend(names);
            let captures = self.graph.resolve_captures(node).map_err(invalid)?;
            let old = self.graph.captures(node).to_vec();
            inputs.iter().flatten().chain(&captures).chain(&old).for_each(|&value| self.touch_value(value));
            self.graph.unlink_inputs(node);
            self.graph.connect(node, inputs, captures);
        }
        Ok(())
    }

    /// Puts new nodes into the running order, each just before its first reader, and sorts all if that is not enough.
    pub(super) fn place_nodes(&mut self, affected: &[NodeId]) -> Outcome {
        for index in (self.first_new_node..self.graph.nodes.len()).rev() {
            let node = NodeId(index as u32);
            match self.first_reader(node) {
                Some(reader) => self.graph.order.insert_before(node.0, reader.0),
                None => self.graph.order.push_back(node.0),
            }
            self.placed.push(node);
        }
        if affected.iter().any(|&node| !self.is_in_order(node)) {
            self.sort_all()?;
        }
        Ok(())
    }

    fn readers(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let outputs = self.graph.outputs(node).iter().flatten();
        outputs.flat_map(|&value| self.graph.value(value).consumers.iter().map(|consumer| consumer.node))
    }

    fn first_reader(&self, node: NodeId) -> Option<NodeId> {
        let placed = |reader: &NodeId| reader.index() < self.first_new_node || reader.index() > node.index();
        let order = &self.graph.order;
        self.readers(node)
            .filter(placed)
            .reduce(|first, next| if order.is_before(next.0, first.0) { next } else { first })
    }

    fn is_in_order(&self, node: NodeId) -> bool {
        let order = &self.graph.order;
        self.graph.predecessors(node.0).all(|before| order.is_before(before, node.0))
            && self.readers(node).all(|reader| order.is_before(node.0, reader.0))
    }

    fn sort_all(&mut self) -> Outcome {
        let items: Vec<u32> = self.graph.order.iter().filter(|&node| self.graph.contains_node(NodeId(node))).collect();
        let sorted = order::sort(&items, |node| self.graph.predecessors(node));
        let sorted = sorted.map_err(|cycle| invalid(self.graph.cycle_error(&cycle)))?;
        self.graph.order = order::Order::from_sequence(sorted);
        self.removed_from_order();
        Ok(())
    }

    /// A full sort has already left out the removed nodes.
    fn removed_from_order(&mut self) {
        self.removed.iter_mut().for_each(|node| *node = NodeId(u32::MAX));
    }
}
