//! Applies a patch: edit, check what was touched, and either keep everything or put everything back.
//!
//! Before anything is changed for the first time its old state is saved, so undoing restores exactly the touched parts
//! and the cost depends on the patch, not on the graph. Only when an edit breaks the running order are all nodes
//! sorted again.

mod redirect;
mod settle;
mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::patch::{AttributeEdit, Patch, PatchSummary, ValueRef};
use super::subgraphs::inner_names;
use super::{Graph, Node, NodeId, Producer, Slot, Use, Value, ValueId};
use crate::error::{Error, PatchError, Result};
use crate::proto::{AttributeProto, NodeProto, TensorProto};
use crate::types::ValueType;

impl Graph {
    /// Applies `patch` as a whole.
    ///
    /// # Errors
    /// [`Error::Patch`] with the reason; the graph is as it was. Reasons: a node, slot or value does not exist; a value
    /// would have two producers, or none and still a reader; a reader would see another element type or a contradicting
    /// shape; the inputs and outputs of a node would not agree with its operator; a cycle.
    pub fn apply(&mut self, patch: Patch) -> Result<PatchSummary> {
        let name = patch.name.clone();
        let mut edit = Edit::new(self);
        match edit.run(patch) {
            Ok(()) => Ok(edit.finish(name)),
            Err(source) => {
                edit.undo();
                Err(Error::Patch { patch: name, source: Box::new(source) })
            }
        }
    }

    pub(super) fn unlink_inputs(&mut self, node: NodeId) {
        let entry = self.entry_mut(node);
        let inputs: Vec<ValueId> = entry.inputs.drain(..).flatten().chain(entry.captures.drain(..)).collect();
        for value in inputs {
            self.value_mut(value).consumers.retain(|consumer| consumer.node != node);
        }
    }
}

type Outcome<T = ()> = Result<T, PatchError>;

/// A reader whose value changed: who (none: a graph output), from what, to what.
struct Moved {
    reader: Option<NodeId>,
    old: ValueId,
    new: ValueId,
    /// Whether the element types must be equal, whatever the operator accepts.
    strict: bool,
}

struct Edit<'g> {
    graph: &'g mut Graph,
    first_new_node: usize,
    first_new_value: usize,
    old_outputs: Vec<ValueId>,
    nodes: BTreeMap<NodeId, Node>,
    values: BTreeMap<ValueId, Value>,
    /// The names by which a touched node's subgraphs know its captures at the moment.
    capture_names: HashMap<NodeId, Vec<String>>,
    /// Values whose producer is gone.
    orphans: BTreeSet<ValueId>,
    moved: Vec<Moved>,
    /// Inputs that the patch sets by name.
    replaced: HashSet<Use>,
    /// Nodes whose graph attributes were replaced.
    new_subgraphs: BTreeSet<NodeId>,
    removed: Vec<NodeId>,
    placed: Vec<NodeId>,
    renamed: Vec<(String, String)>,
}

impl<'g> Edit<'g> {
    fn new(graph: &'g mut Graph) -> Self {
        Self {
            first_new_node: graph.nodes.len(),
            first_new_value: graph.values.len(),
            old_outputs: graph.outputs.clone(),
            graph,
            nodes: BTreeMap::new(),
            values: BTreeMap::new(),
            capture_names: HashMap::new(),
            orphans: BTreeSet::new(),
            moved: Vec::new(),
            replaced: HashSet::new(),
            new_subgraphs: BTreeSet::new(),
            removed: Vec::new(),
            placed: Vec::new(),
            renamed: Vec::new(),
        }
    }

    fn run(&mut self, patch: Patch) -> Outcome {
        self.check_targets(&patch)?;
        for &node in &patch.removed {
            self.remove_node(node);
        }
        let produced = produced_names(&patch);
        for (node, slot, name) in &patch.renames {
            self.rename_output(*node, *slot, name, produced.contains(name_of_output(self.graph, *node, *slot)))?;
        }
        for tensor in patch.initializers {
            self.add_initializer(tensor)?;
        }
        let added =
            patch.added.into_iter().map(|(node, types)| self.add_node(node, types)).collect::<Outcome<Vec<_>>>()?;
        for node in added {
            self.link_added(node)?;
        }
        for (node, slot, value) in &patch.inputs {
            self.replace_input(*node, *slot, value)?;
        }
        self.redirect_all(&patch.redirects)?;
        for (node, change) in patch.attributes {
            self.edit_attribute(node, change);
        }
        for (value, ty) in patch.types {
            let id = self.find(&value)?;
            self.touch_value(id);
            self.graph.value_mut(id).ty = Some(ty);
        }
        self.settle()
    }

    /// Checks and derived state, once all edits are made.
    fn settle(&mut self) -> Outcome {
        self.drop_orphans()?;
        self.check_moves()?;
        self.write_names()?;
        self.relink_subgraphs()?;
        let affected = self.affected_nodes();
        self.check_types(&affected)?;
        self.place_nodes(&affected)
    }

    fn check_targets(&self, patch: &Patch) -> Outcome {
        let removed: HashSet<NodeId> = patch.removed.iter().copied().collect();
        let edited = patch.inputs.iter().map(|edit| edit.0).chain(patch.renames.iter().map(|edit| edit.0));
        let edited = edited.chain(patch.attributes.iter().map(|edit| edit.0));
        if removed.len() != patch.removed.len() {
            let twice = patch.removed.iter().enumerate().find(|(index, node)| patch.removed[..*index].contains(node));
            return Err(PatchError::NoSuchNode(twice.map_or(0, |(_, node)| node.0)));
        }
        for node in edited {
            if !self.graph.contains_node(node) || removed.contains(&node) {
                return Err(PatchError::NoSuchNode(node.0));
            }
        }
        match patch.removed.iter().find(|&&node| !self.graph.contains_node(node)) {
            Some(node) => Err(PatchError::NoSuchNode(node.0)),
            None => Ok(()),
        }
    }

    fn touch_node(&mut self, node: NodeId) {
        if node.index() >= self.first_new_node || self.nodes.contains_key(&node) {
            return;
        }
        let entry = self.graph.entry(node).clone();
        self.record_capture_names(node);
        self.nodes.insert(node, entry);
    }

    fn record_capture_names(&mut self, node: NodeId) {
        let captures = &self.graph.entry(node).captures;
        if !captures.is_empty() {
            let names = captures.iter().map(|&value| self.graph.value(value).name.clone()).collect();
            self.capture_names.insert(node, names);
        }
    }

    fn touch_value(&mut self, value: ValueId) {
        if value.index() < self.first_new_value && !self.values.contains_key(&value) {
            self.values.insert(value, self.graph.value(value).clone());
        }
    }

    fn touch_consumers(&mut self, value: ValueId) {
        let consumers: Vec<NodeId> = self.graph.value(value).consumers.iter().map(|consumer| consumer.node).collect();
        consumers.into_iter().for_each(|node| self.touch_node(node));
    }

    fn remove_node(&mut self, node: NodeId) {
        self.touch_node(node);
        let entry = self.graph.entry(node).clone();
        entry.inputs.iter().flatten().chain(&entry.captures).for_each(|&value| self.touch_value(value));
        self.graph.unlink_inputs(node);
        for value in entry.outputs.into_iter().flatten() {
            self.touch_value(value);
            self.orphans.insert(value);
        }
        self.removed.push(node);
    }

    fn rename_output(&mut self, node: NodeId, slot: usize, name: &str, detach: bool) -> Outcome {
        let Some(value) = self.graph.output(node, slot) else {
            return Err(PatchError::NoSuchSlot { node: self.graph.node_name(node), what: "output", slot });
        };
        self.touch_node(node);
        self.touch_value(value);
        if !detach {
            return self.rename_value(value, name);
        }
        let ty = self.graph.value(value).ty.clone();
        let detached = self.define(name, ty, Producer::Node { node, slot })?;
        self.graph.entry_mut(node).outputs[slot] = Some(detached);
        self.orphans.insert(value);
        Ok(())
    }

    fn rename_value(&mut self, value: ValueId, name: &str) -> Outcome {
        let entry = self.graph.value(value);
        if entry.is_output {
            return Err(PatchError::InterfaceName(entry.name.clone()));
        }
        if let Some(taken) = self.graph.value_id(name)
            && taken != value
        {
            return Err(invalid(self.graph.duplicate(name, self.graph.value(taken).producer, entry.producer)));
        }
        self.give_name(value, name);
        Ok(())
    }

    /// Sets a value's name, which must be free.
    fn give_name(&mut self, value: ValueId, name: &str) {
        self.touch_value(value);
        self.touch_consumers(value);
        if let Some(producer) = self.graph.producer(value)
            && self.graph.contains_node(producer)
        {
            self.touch_node(producer);
        }
        let old = std::mem::replace(&mut self.graph.value_mut(value).name, name.to_owned());
        if self.graph.names.get(&old) == Some(&value) {
            self.graph.names.remove(&old);
        }
        self.graph.names.insert(name.to_owned(), value);
    }

    /// Makes a value, or gives a value without producer a new one.
    fn define(&mut self, name: &str, ty: Option<ValueType>, producer: Producer) -> Outcome<ValueId> {
        if let Some(id) = self.graph.value_id(name)
            && self.orphans.remove(&id)
        {
            let value = self.graph.value_mut(id);
            value.producer = producer;
            value.ty = ty.or(value.ty.take());
            return Ok(id);
        }
        self.graph.define(name, ty, producer).map_err(invalid)
    }

    fn add_initializer(&mut self, tensor: TensorProto) -> Outcome {
        let ty = crate::graph::index::tensor_type(&tensor, &tensor.dims);
        let id = self.define(tensor.name(), ty, Producer::Initializer)?;
        self.graph.initializers.insert(id, tensor);
        Ok(())
    }

    fn add_node(&mut self, proto: NodeProto, types: Vec<Option<ValueType>>) -> Outcome<NodeId> {
        if types.len() != proto.output.len() {
            let node = crate::graph::display_name(&proto);
            return Err(PatchError::OutputTypes { node, outputs: proto.output.len(), types: types.len() });
        }
        let node = NodeId(self.graph.nodes.len() as u32);
        let names = proto.output.clone();
        self.graph.reserved.extend(inner_names(&proto));
        self.graph.nodes.push(Some(Node { proto, inputs: vec![], outputs: vec![], captures: vec![] }));
        for (slot, (name, ty)) in names.iter().zip(types).enumerate() {
            let output = match name.is_empty() {
                true => None,
                false => Some(self.define(name, ty, Producer::Node { node, slot })?),
            };
            self.graph.entry_mut(node).outputs.push(output);
        }
        Ok(node)
    }

    fn link_added(&mut self, node: NodeId) -> Outcome {
        let names = self.graph.node(node).input.clone();
        let inputs = names.iter().map(|name| self.graph.resolve(node, name)).collect::<Result<Vec<_>>>();
        let (inputs, captures) =
            inputs.and_then(|inputs| Ok((inputs, self.graph.resolve_captures(node)?))).map_err(invalid)?;
        inputs.iter().flatten().chain(&captures).for_each(|&value| self.touch_value(value));
        self.graph.connect(node, inputs, captures);
        self.record_capture_names(node);
        Ok(())
    }

    fn replace_input(&mut self, node: NodeId, slot: usize, name: &str) -> Outcome {
        let new = match name {
            "" => None,
            name => Some(self.graph.value_id(name).ok_or_else(|| PatchError::NoSuchValue(name.to_owned()))?),
        };
        self.touch_node(node);
        let inputs = self.graph.inputs(node).len();
        if slot > inputs + 16 {
            return Err(PatchError::NoSuchSlot { node: self.graph.node_name(node), what: "input", slot });
        }
        let entry = self.graph.entry_mut(node);
        entry.inputs.resize(inputs.max(slot + 1), None);
        entry.proto.input.resize(inputs.max(slot + 1), String::new());
        let place = Use { node, slot: Slot::Input(slot) };
        self.replaced.insert(place);
        self.move_use(place, new, false);
        Ok(())
    }

    /// Moves one input from its value to `new`.
    fn move_use(&mut self, place: Use, new: Option<ValueId>, strict: bool) {
        let Slot::Input(slot) = place.slot else { return };
        let old = self.graph.inputs(place.node)[slot];
        self.graph.entry_mut(place.node).inputs[slot] = new;
        if let Some(old) = old {
            self.touch_value(old);
            self.graph.value_mut(old).consumers.retain(|consumer| *consumer != place);
        }
        if let Some(new) = new {
            self.touch_value(new);
            self.graph.value_mut(new).consumers.push(place);
        }
        if let (Some(old), Some(new)) = (old, new) {
            self.moved.push(Moved { reader: Some(place.node), old, new, strict });
        }
    }

    fn edit_attribute(&mut self, node: NodeId, change: AttributeEdit) {
        self.touch_node(node);
        let attributes = &mut self.graph.entry_mut(node).proto.attribute;
        let holds_graph = |attribute: &AttributeProto| attribute.g.is_some() || !attribute.graphs.is_empty();
        let (name, new) = match change {
            AttributeEdit::Set(attribute) => (attribute.name().to_owned(), Some(*attribute)),
            AttributeEdit::Remove(name) => (name, None),
        };
        let position = attributes.iter().position(|attribute| attribute.name() == name);
        let old_graph = position.is_some_and(|index| holds_graph(&attributes[index]));
        if old_graph || new.as_ref().is_some_and(holds_graph) {
            self.new_subgraphs.insert(node);
        }
        match (position, new) {
            (Some(index), Some(attribute)) => attributes[index] = attribute,
            (Some(index), None) => drop(attributes.remove(index)),
            (None, Some(attribute)) => attributes.push(attribute),
            (None, None) => {}
        }
    }

    fn find(&self, value: &ValueRef) -> Outcome<ValueId> {
        match value {
            ValueRef::Id(id) if self.graph.contains_value(*id) => Ok(*id),
            ValueRef::Id(id) => Err(PatchError::NoSuchValue(format!("#{}", id.0))),
            ValueRef::Name(name) => self.graph.value_id(name).ok_or_else(|| PatchError::NoSuchValue(name.clone())),
        }
    }

    fn finish(self, patch: String) -> PatchSummary {
        for &node in self.removed.iter().filter(|node| node.0 != u32::MAX) {
            self.graph.order.remove(node.0);
        }
        for id in self.values.keys().filter(|id| self.graph.values[id.index()].is_none()) {
            self.graph.declared.remove(id);
        }
        let added = (self.first_new_node..self.graph.nodes.len()).map(|index| NodeId(index as u32)).collect();
        let removed = self.removed.len();
        PatchSummary { patch, added, removed, changed: self.nodes.len() - removed, renamed: self.renamed }
    }

    fn undo(self) {
        let graph = self.graph;
        self.placed.iter().for_each(|node| graph.order.remove(node.0));
        graph.nodes.truncate(self.first_new_node);
        for value in graph.values.drain(self.first_new_value..).flatten() {
            graph.names.remove(&value.name);
        }
        for value in self.values.keys() {
            if let Some(value) = &graph.values[value.index()] {
                graph.names.remove(&value.name);
            }
        }
        let new_initializer = |id: &ValueId| id.index() >= self.first_new_value;
        let stale: Vec<ValueId> = graph.initializers.keys().copied().rev().take_while(new_initializer).collect();
        stale.iter().for_each(|id| drop(graph.initializers.remove(id)));
        for (id, value) in self.values {
            if value.producer != Producer::Initializer {
                graph.initializers.remove(&id);
            }
            graph.names.insert(value.name.clone(), id);
            graph.values[id.index()] = Some(value);
        }
        for (id, node) in self.nodes {
            graph.nodes[id.index()] = Some(node);
        }
        graph.outputs = self.old_outputs;
    }
}

fn produced_names(patch: &Patch) -> HashSet<String> {
    let nodes = patch.added.iter().flat_map(|(node, _)| node.output.iter().cloned());
    nodes.chain(patch.initializers.iter().map(|tensor| tensor.name().to_owned())).collect()
}

fn name_of_output(graph: &Graph, node: NodeId, slot: usize) -> &str {
    graph.output(node, slot).map_or("", |value| &graph.value(value).name)
}

fn invalid(error: Error) -> PatchError {
    PatchError::Invalid(Box::new(error))
}
