//! The main graph of a model with its edges: who produces a value, who reads it, of which type it is.
//!
//! Everything here reads; [`Graph::apply`] is the one way to change nodes and edges, so that no half-edited graph can
//! be seen. Identifiers stay valid for as long as what they name exists, also across patches.

mod apply;
mod index;
pub(crate) mod order;
mod patch;
mod remove_dead;
pub(crate) mod subgraphs;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use patch::{Patch, PatchSummary, ValueRef};

use crate::error::Error;
use crate::model::Model;
use crate::proto::{AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::signatures::Side;
use crate::tensor::Tensor;
use crate::types::ValueType;
use order::Order;

/// A node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// A value of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

impl NodeId {
    /// Position in a table with one row per node ever made; see [`Graph::node_slots`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ValueId {
    /// Position in a table with one row per value ever made; see [`Graph::value_slots`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Producer {
    /// The caller feeds it.
    GraphInput,
    /// It is stored in the model.
    Initializer,
    /// A node computes it.
    Node {
        /// The node.
        node: NodeId,
        /// Which of its outputs.
        slot: usize,
    },
}

/// How a node reads a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// As its input of that position.
    Input(usize),
    /// From inside one of its subgraphs.
    Capture,
}

/// One reader of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Use {
    /// The node.
    pub node: NodeId,
    /// Where in the node.
    pub slot: Slot,
}

/// A value: its name, type, producer and readers.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its name, unique in the graph.
    pub name: String,
    /// Its type, as far as known.
    pub ty: Option<ValueType>,
    /// What makes it.
    pub producer: Producer,
    /// Who reads it, besides the graph's outputs.
    pub consumers: Vec<Use>,
    /// Whether it is an output of the graph.
    pub is_output: bool,
}

#[derive(Debug, Clone)]
struct Node {
    proto: NodeProto,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<Option<ValueId>>,
    captures: Vec<ValueId>,
}

/// The main graph of a model, indexed. Made by [`Graph::new`], turned back by [`Graph::into_model`].
#[derive(Debug, Clone)]
pub struct Graph {
    /// The model without the lists that are held below.
    model: Model,
    nodes: Vec<Option<Node>>,
    values: Vec<Option<Value>>,
    names: HashMap<String, ValueId>,
    order: Order,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    initializers: BTreeMap<ValueId, TensorProto>,
    /// Initializers that are graph inputs as well, so that the caller may replace them.
    overridable: HashSet<ValueId>,
    /// What the model declared about values, with its documentation and metadata.
    declared: HashMap<ValueId, ValueInfoProto>,
    /// Names that a new value must not take: those inside subgraphs and those handed out.
    reserved: HashSet<String>,
    name_counters: HashMap<String, u32>,
}

impl Graph {
    /// The model that it is of, without nodes, values and initializers.
    pub(crate) fn shell(&self) -> &ModelProto {
        &self.model.proto
    }

    /// Every node, producers before consumers.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.order.iter().map(NodeId)
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.order.len()
    }

    /// One more than the largest [`NodeId::index`].
    pub fn node_slots(&self) -> usize {
        self.nodes.len()
    }

    /// Every value.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.values.iter().enumerate().filter(|(_, value)| value.is_some()).map(|(index, _)| ValueId(index as u32))
    }

    /// One more than the largest [`ValueId::index`].
    pub fn value_slots(&self) -> usize {
        self.values.len()
    }

    /// Whether the node exists (still).
    pub fn contains_node(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(Option::is_some)
    }

    /// Whether the value exists (still).
    pub fn contains_value(&self, value: ValueId) -> bool {
        self.values.get(value.index()).is_some_and(Option::is_some)
    }

    /// The node's protobuf form.
    ///
    /// # Panics
    /// The node was removed or belongs to another graph; the same holds for every method that takes an identifier.
    pub fn node(&self, node: NodeId) -> &NodeProto {
        &self.entry(node).proto
    }

    /// The node's name, or `<operator>` if it has none.
    pub fn node_name(&self, node: NodeId) -> String {
        display_name(self.node(node))
    }

    /// The node's operator.
    pub fn op_type(&self, node: NodeId) -> &str {
        self.node(node).op_type()
    }

    /// The operator's domain; `""` is `ai.onnx`.
    pub fn domain(&self, node: NodeId) -> &str {
        crate::model::normal_domain(self.node(node).domain())
    }

    /// The values that the node reads; `None` for an optional input left out.
    pub fn inputs(&self, node: NodeId) -> &[Option<ValueId>] {
        &self.entry(node).inputs
    }

    /// The values that the node makes; `None` for an optional output left out.
    pub fn outputs(&self, node: NodeId) -> &[Option<ValueId>] {
        &self.entry(node).outputs
    }

    /// The values of this graph that the node's subgraphs read.
    pub fn captures(&self, node: NodeId) -> &[ValueId] {
        &self.entry(node).captures
    }

    /// The value in an input slot, if the slot exists and is used.
    pub fn input(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        self.inputs(node).get(slot).copied().flatten()
    }

    /// The value in an output slot, if the slot exists and is used.
    pub fn output(&self, node: NodeId, slot: usize) -> Option<ValueId> {
        self.outputs(node).get(slot).copied().flatten()
    }

    fn at(&self, node: NodeId, side: Side) -> Option<ValueId> {
        match side {
            Side::Input(slot) => self.input(node, slot),
            Side::Output(slot) => self.output(node, slot),
        }
    }

    /// A value.
    pub fn value(&self, value: ValueId) -> &Value {
        self.values[value.index()].as_ref().expect("the value is in the graph")
    }

    /// The value of that name.
    pub fn value_id(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The node that makes a value.
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        match self.value(value).producer {
            Producer::Node { node, .. } => Some(node),
            _ => None,
        }
    }

    /// The values that a caller must feed. Inputs that have an initializer are not among them.
    pub fn graph_inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The values that the graph returns, in order.
    pub fn graph_outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Every dense initializer.
    pub fn initializers(&self) -> impl Iterator<Item = (ValueId, &TensorProto)> {
        self.initializers.iter().map(|(&id, tensor)| (id, tensor))
    }

    /// The dense initializer that a value is.
    pub fn initializer(&self, value: ValueId) -> Option<&TensorProto> {
        self.initializers.get(&value)
    }

    /// The value as a tensor, if it is the same in every run: an initializer that no caller can replace, or the output
    /// of a `Constant` node. Strings and sparse tensors give `None`.
    pub fn constant(&self, value: ValueId) -> Option<Tensor> {
        match self.value(value).producer {
            Producer::GraphInput => None,
            Producer::Initializer if self.overridable.contains(&value) && self.has_overridable_initializers() => None,
            Producer::Initializer => Tensor::from_proto(self.initializer(value)?).ok(),
            Producer::Node { node, .. } => self.constant_node(node),
        }
    }

    /// Before version 4 every initializer had to be listed as an input, which then meant nothing.
    fn has_overridable_initializers(&self) -> bool {
        self.model.proto.ir_version() >= 4
    }

    fn constant_node(&self, node: NodeId) -> Option<Tensor> {
        if self.op_type(node) != "Constant" || !self.domain(node).is_empty() {
            return None;
        }
        let attribute = self.node(node).attribute.first()?;
        match attribute.name() {
            "value" => Tensor::from_proto(attribute.t.as_ref()?).ok(),
            "value_float" => Tensor::from_vec(vec![], vec![attribute.f?]).ok(),
            "value_int" => Tensor::from_vec(vec![], vec![attribute.i?]).ok(),
            "value_floats" => Tensor::from_vec(vec![attribute.floats.len() as u64], attribute.floats.clone()).ok(),
            "value_ints" => Tensor::from_vec(vec![attribute.ints.len() as u64], attribute.ints.clone()).ok(),
            _ => None,
        }
    }

    /// An attribute of a node.
    pub fn attribute(&self, node: NodeId, name: &str) -> Option<&AttributeProto> {
        self.node(node).attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// An integer attribute.
    pub fn attribute_int(&self, node: NodeId, name: &str) -> Option<i64> {
        self.attribute(node, name)?.i
    }

    /// An attribute that is a list of integers.
    pub fn attribute_ints(&self, node: NodeId, name: &str) -> Option<&[i64]> {
        self.attribute(node, name).map(|attribute| attribute.ints.as_slice())
    }

    /// A float attribute.
    pub fn attribute_float(&self, node: NodeId, name: &str) -> Option<f32> {
        self.attribute(node, name)?.f
    }

    /// A string attribute.
    pub fn attribute_string(&self, node: NodeId, name: &str) -> Option<&str> {
        std::str::from_utf8(self.attribute(node, name)?.s.as_ref()?).ok()
    }

    /// Version of the operator set that the model imports for `domain`; `""` is `ai.onnx`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.model.opset(domain)
    }

    /// Imports `domain` in that version.
    pub fn set_opset(&mut self, domain: &str, version: i64) {
        let wanted = crate::model::normal_domain(domain);
        let imports = &mut self.model.proto.opset_import;
        match imports.iter_mut().find(|import| crate::model::normal_domain(import.domain()) == wanted) {
            Some(import) => import.version = Some(version),
            None => imports.push(crate::construct::opset_import(wanted, version)),
        }
    }

    /// A value name that is not used yet, and will not be given again: `stem`, or `stem` with a number.
    pub fn unique_name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        while self.names.contains_key(&name) || self.reserved.contains(&name) {
            let counter = self.name_counters.entry(stem.to_owned()).or_default();
            *counter += 1;
            name = format!("{stem}_{counter}");
        }
        self.reserved.insert(name.clone());
        name
    }

    /// Takes over types, by value name. What the graph's inputs and outputs declare is kept where it has a shape.
    /// Returns how many values the graph has under these names.
    pub fn set_types(&mut self, types: impl IntoIterator<Item = (String, ValueType)>) -> usize {
        let mut found = 0;
        for (name, ty) in types {
            let Some(id) = self.value_id(&name) else { continue };
            found += 1;
            let value = self.values[id.index()].as_mut().expect("named values exist");
            let declared = value.is_output || !matches!(value.producer, Producer::Node { .. });
            let settled = value.ty.as_ref().is_some_and(|ty| ty.tensor().is_none_or(|tensor| tensor.shape.is_some()));
            if !(declared && settled) {
                value.ty = Some(ty);
            }
        }
        found
    }

    /// Forgets the type of every value that a node makes, but for graph outputs: after a change of input shapes.
    pub fn clear_types(&mut self) {
        for value in self.values.iter_mut().flatten() {
            if matches!(value.producer, Producer::Node { .. }) && !value.is_output {
                value.ty = None;
            }
        }
    }

    fn entry(&self, node: NodeId) -> &Node {
        self.nodes[node.index()].as_ref().expect("the node is in the graph")
    }

    fn cycle_error(&self, cycle: &[u32]) -> Error {
        Error::Cycle { nodes: cycle.iter().map(|&node| self.node_name(NodeId(node))).collect() }
    }

    /// The nodes that must come before `node`.
    fn predecessors(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let entry = self.entry(NodeId(node));
        entry.inputs.iter().flatten().chain(&entry.captures).filter_map(|&value| self.producer(value)).map(|id| id.0)
    }
}

/// What to call a node in a message: its name, or its operator and first output.
pub(crate) fn display_name(node: &NodeProto) -> String {
    if !node.name().is_empty() {
        return node.name().to_owned();
    }
    let output = node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
    format!("<{} -> {output}>", node.op_type())
}
