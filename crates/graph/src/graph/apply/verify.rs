//! What must hold after an edit: no reader without a value, no reader with a value of another type.
//!
//! Only what the patch touched is looked at.

use super::{Edit, Moved, Outcome, invalid};
use crate::check::types::mixed_types;
use crate::element::ElementType;
use crate::error::PatchError;
use crate::graph::{Node, NodeId, Value, ValueId};
use crate::signatures::signature;
use crate::types::ValueType;

impl Edit<'_> {
    pub(super) fn drop_orphans(&mut self) -> Outcome {
        for value in std::mem::take(&mut self.orphans) {
            let entry = self.graph.value(value);
            if let Some(reader) = entry.consumers.first() {
                let reader = format!("node {:?}", self.graph.node_name(reader.node));
                return Err(PatchError::StillUsed { value: entry.name.clone(), reader });
            }
            if entry.is_output {
                return Err(PatchError::StillUsed { value: entry.name.clone(), reader: "a graph output".to_owned() });
            }
            self.graph.names.remove(&entry.name.clone());
            self.graph.values[value.index()] = None;
        }
        for &node in &self.removed {
            self.graph.nodes[node.index()] = None;
        }
        Ok(())
    }

    /// What a value was before the patch, or is now if it is new.
    fn before(&self, value: ValueId) -> Option<&Value> {
        self.values.get(&value).or_else(|| self.graph.values[value.index()].as_ref())
    }

    pub(super) fn check_moves(&self) -> Outcome {
        self.moved.iter().try_for_each(|moved| self.check_move(moved))
    }

    fn check_move(&self, moved: &Moved) -> Outcome {
        let Some(old) = self.before(moved.old) else { return Ok(()) };
        let Some(new) = &self.graph.values[moved.new.index()] else { return Ok(()) };
        let (Some(old_type), Some(new_type)) = (&old.ty, &new.ty) else { return Ok(()) };
        let names = || (self.reader_name(moved), old.name.clone(), new.name.clone());
        if let (true, Some(a), Some(b)) = (moved.strict, old_type.element(), new_type.element())
            && a != b
        {
            let (reader, old, new) = names();
            return Err(PatchError::ElementType { reader, old, old_type: a, new, new_type: b });
        }
        if !agree(old_type, new_type) {
            let (reader, old, new) = names();
            let (old_type, new_type) = (old_type.to_string(), new_type.to_string());
            return Err(PatchError::Shape { reader, old, old_type, new, new_type });
        }
        Ok(())
    }

    fn reader_name(&self, moved: &Moved) -> String {
        match moved.reader {
            Some(node) => format!("node {:?}", self.graph.node_name(node)),
            None => "a graph output".to_owned(),
        }
    }

    /// Every node whose inputs, outputs or their types may have changed.
    pub(super) fn affected_nodes(&self) -> Vec<NodeId> {
        let new = (self.first_new_node..self.graph.nodes.len()).map(|index| NodeId(index as u32));
        let mut affected: Vec<NodeId> = self.nodes.keys().copied().chain(new).collect();
        for (&id, old) in &self.values {
            let Some(value) = &self.graph.values[id.index()] else { continue };
            if value.ty != old.ty {
                affected.extend(value.consumers.iter().map(|consumer| consumer.node));
                affected.extend(self.graph.producer(id));
            }
        }
        affected.retain(|&node| self.graph.contains_node(node));
        affected.sort_unstable();
        affected.dedup();
        affected
    }

    pub(super) fn check_types(&self, affected: &[NodeId]) -> Outcome {
        for &node in affected {
            let opset = self.graph.opset(self.graph.domain(node)).unwrap_or(i64::MAX);
            match signature(self.graph.domain(node), self.graph.op_type(node), opset) {
                Some(rules) => {
                    let element = |side, _: &str| self.graph.value(self.graph.at(node, side)?).ty.as_ref()?.element();
                    mixed_types(self.graph.node(node), rules, element).map_or(Ok(()), |error| Err(invalid(error)))?;
                }
                None => self.check_unknown_operator(node)?,
            }
            self.check_captures(node)?;
        }
        Ok(())
    }

    fn check_unknown_operator(&self, node: NodeId) -> Outcome {
        let Some(saved) = self.nodes.get(&node).or_else(|| self.untouched(node)) else { return Ok(()) };
        let pairs = saved.inputs.iter().zip(self.graph.inputs(node));
        let outputs = saved.outputs.iter().zip(self.graph.outputs(node));
        pairs.chain(outputs).try_for_each(|(old, new)| match (old, new) {
            (Some(old), Some(new)) => self.check_same_element(node, *old, *new),
            _ => Ok(()),
        })
    }

    fn check_captures(&self, node: NodeId) -> Outcome {
        if self.new_subgraphs.contains(&node) || node.index() >= self.first_new_node {
            return Ok(());
        }
        self.graph.captures(node).iter().try_for_each(|&value| self.check_same_element(node, value, value))
    }

    fn untouched(&self, node: NodeId) -> Option<&Node> {
        (node.index() < self.first_new_node).then(|| self.graph.entry(node))
    }

    fn check_same_element(&self, node: NodeId, old: ValueId, new: ValueId) -> Outcome {
        let element = |value: &Value| value.ty.as_ref().and_then(ValueType::element);
        let types: (Option<ElementType>, _) = (self.before(old).and_then(element), element(self.graph.value(new)));
        match types {
            (Some(old_type), Some(new_type)) if old_type != new_type => Err(PatchError::UnknownOperator {
                node: self.graph.node_name(node),
                operator: self.graph.op_type(node).to_owned(),
                value: self.graph.value(new).name.clone(),
                old_type,
                new_type,
            }),
            _ => Ok(()),
        }
    }
}

fn agree(a: &ValueType, b: &ValueType) -> bool {
    match (a, b) {
        (ValueType::Tensor(a), ValueType::Tensor(b)) => a.shape_agrees(b),
        (ValueType::Other(a), ValueType::Other(b)) => a == b,
        _ => false,
    }
}
