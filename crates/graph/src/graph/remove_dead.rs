//! Removes what no graph output needs.
//!
//! Graph inputs and outputs stay: they are the model's interface.

use std::collections::HashSet;

use super::{Graph, NodeId, Producer, ValueId};

impl Graph {
    /// Removes nodes that no graph output depends on, and dense initializers that nothing reads. Returns the number of
    /// nodes removed.
    pub fn remove_dead(&mut self) -> usize {
        let needed = self.needed_nodes();
        let dead: Vec<NodeId> = self.node_ids().filter(|node| !needed.contains(node)).collect();
        for &node in &dead {
            self.unlink_inputs(node);
        }
        for &node in &dead {
            self.drop_node(node);
        }
        self.drop_unread_initializers();
        dead.len()
    }

    fn needed_nodes(&self) -> HashSet<NodeId> {
        let mut needed = HashSet::new();
        let mut open: Vec<NodeId> = self.outputs.iter().filter_map(|&output| self.producer(output)).collect();
        while let Some(node) = open.pop() {
            if needed.insert(node) {
                open.extend(self.predecessors(node.0).map(NodeId));
            }
        }
        needed
    }

    fn drop_node(&mut self, node: NodeId) {
        let Some(entry) = self.nodes[node.index()].take() else { return };
        self.order.remove(node.0);
        entry.outputs.into_iter().flatten().for_each(|value| self.drop_value(value));
    }

    pub(super) fn drop_value(&mut self, value: ValueId) {
        if let Some(dropped) = self.values[value.index()].take()
            && self.names.get(&dropped.name) == Some(&value)
        {
            self.names.remove(&dropped.name);
        }
        self.declared.remove(&value);
    }

    fn drop_unread_initializers(&mut self) {
        let unread = |id: &ValueId| {
            let value = self.value(*id);
            value.producer == Producer::Initializer && value.consumers.is_empty() && !value.is_output
        };
        let dead: Vec<ValueId> = self.initializers.keys().copied().filter(unread).collect();
        for id in dead {
            self.initializers.remove(&id);
            self.overridable.remove(&id);
            self.drop_value(id);
        }
    }
}
