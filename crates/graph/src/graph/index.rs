//! Builds a [`Graph`] from a model and a model from a [`Graph`].
//!
//! Building is also the structural check: unique names, no dangling reads, no cycles. What the graph does not hold in
//! its own tables stays in the model untouched.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::take;

use super::order::{self, Order};
use super::subgraphs::{captured_names, inner_names};
use super::{Graph, Node, NodeId, Producer, Slot, Use, Value, ValueId, display_name};
use crate::construct::value_info;
use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::types::{Dimension, TensorType, ValueType};
use crate::visit::subgraphs;

impl Graph {
    /// Indexes the main graph of `model`, sorting its nodes if they are not in order.
    ///
    /// # Errors
    /// The model has no graph or no operator set, two producers have one name, something reads what nothing makes, or
    /// nodes form a cycle.
    pub fn new(mut model: Model) -> Result<Self> {
        if model.proto.opset_import.is_empty() {
            return Err(Error::MissingOpset);
        }
        let graph = model.proto.graph.as_mut().ok_or(Error::MissingGraph)?;
        let (nodes, initializers) = (take(&mut graph.node), take(&mut graph.initializer));
        let value_infos = take(&mut graph.value_info);
        let mut graph = Self::empty(model);
        graph.reserve(nodes.len(), nodes.len() + initializers.len());
        graph.register_initializers(initializers)?;
        graph.register_inputs()?;
        graph.register_nodes(nodes)?;
        graph.link_nodes()?;
        graph.link_outputs()?;
        graph.declare(value_infos);
        graph.sort()?;
        Ok(graph)
    }

    fn empty(model: Model) -> Self {
        Self {
            model,
            nodes: Vec::new(),
            values: Vec::new(),
            names: HashMap::new(),
            order: Order::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            initializers: BTreeMap::new(),
            overridable: HashSet::new(),
            declared: HashMap::new(),
            reserved: HashSet::new(),
            name_counters: HashMap::new(),
        }
    }

    fn reserve(&mut self, nodes: usize, values: usize) {
        self.nodes.reserve(nodes);
        self.values.reserve(values);
        self.names.reserve(values);
    }

    fn proto(&self) -> &GraphProto {
        &self.model.proto.graph
    }

    fn register_initializers(&mut self, initializers: Vec<TensorProto>) -> Result<()> {
        for tensor in initializers {
            let id = self.define(tensor.name(), tensor_type(&tensor, &tensor.dims), Producer::Initializer)?;
            self.initializers.insert(id, tensor);
        }
        let sparse: Vec<_> = self
            .proto()
            .sparse_initializer
            .iter()
            .map(|sparse| (sparse.values.name().to_owned(), tensor_type(&sparse.values, &sparse.dims)))
            .collect();
        sparse.into_iter().try_for_each(|(name, ty)| self.define(&name, ty, Producer::Initializer).map(drop))
    }

    fn register_inputs(&mut self) -> Result<()> {
        let inputs: Vec<_> = self.proto().input.iter().map(name_and_type).collect();
        let mut seen = HashSet::new();
        for (name, ty) in inputs {
            if !seen.insert(name.clone()) {
                let (first, second) = (Producer::GraphInput, Producer::GraphInput);
                return Err(self.duplicate(&name, first, second));
            }
            match self.value_id(&name) {
                Some(initializer) => drop(self.overridable.insert(initializer)),
                None => {
                    let id = self.define(&name, ty, Producer::GraphInput)?;
                    self.inputs.push(id);
                }
            }
        }
        Ok(())
    }

    fn register_nodes(&mut self, nodes: Vec<NodeProto>) -> Result<()> {
        for (index, mut proto) in nodes.into_iter().enumerate() {
            let node = NodeId(index as u32);
            self.reserved.extend(inner_names(&proto));
            let names = take(&mut proto.output);
            let outputs = self.define_outputs(node, &proto, &names)?;
            proto.output = names;
            self.nodes.push(Some(Node { proto, inputs: Vec::new(), outputs, captures: Vec::new() }));
        }
        Ok(())
    }

    fn define_outputs(&mut self, node: NodeId, proto: &NodeProto, names: &[String]) -> Result<Vec<Option<ValueId>>> {
        let mut outputs = Vec::with_capacity(names.len());
        for (slot, name) in names.iter().enumerate() {
            let output = match name.is_empty() {
                true => None,
                false => Some(self.define_for(proto, name, Producer::Node { node, slot })?),
            };
            outputs.push(output);
        }
        Ok(outputs)
    }

    /// As [`Graph::define`], for a node that is not in the graph yet.
    fn define_for(&mut self, proto: &NodeProto, name: &str, producer: Producer) -> Result<ValueId> {
        self.define(name, None, producer).map_err(|error| match error {
            Error::DuplicateValue { value, first, .. } => {
                let second = format!("node {:?}", display_name(proto));
                Error::DuplicateValue { value, first, second }
            }
            other => other,
        })
    }

    fn link_nodes(&mut self) -> Result<()> {
        for index in 0..self.nodes.len() {
            let node = NodeId(index as u32);
            let inputs =
                self.node(node).input.iter().map(|name| self.resolve(node, name)).collect::<Result<Vec<_>>>()?;
            let captures = self.resolve_captures(node)?;
            self.connect(node, inputs, captures);
        }
        Ok(())
    }

    pub(super) fn resolve_captures(&self, node: NodeId) -> Result<Vec<ValueId>> {
        let proto = self.node(node);
        if subgraphs(proto).next().is_none() {
            return Ok(Vec::new());
        }
        let names = captured_names(proto);
        names.iter().filter_map(|name| self.resolve(node, name).transpose()).collect()
    }

    /// Records the node's edges on both sides.
    pub(super) fn connect(&mut self, node: NodeId, inputs: Vec<Option<ValueId>>, captures: Vec<ValueId>) {
        for (slot, value) in inputs.iter().enumerate() {
            if let Some(value) = value {
                self.value_mut(*value).consumers.push(Use { node, slot: Slot::Input(slot) });
            }
        }
        for &value in &captures {
            self.value_mut(value).consumers.push(Use { node, slot: Slot::Capture });
        }
        let entry = self.entry_mut(node);
        (entry.inputs, entry.captures) = (inputs, captures);
    }

    pub(super) fn resolve(&self, node: NodeId, name: &str) -> Result<Option<ValueId>> {
        if name.is_empty() {
            return Ok(None);
        }
        let dangling =
            || Error::DanglingInput { value: name.to_owned(), reader: format!("node {:?}", self.node_name(node)) };
        self.value_id(name).map(Some).ok_or_else(dangling)
    }

    fn link_outputs(&mut self) -> Result<()> {
        let outputs: Vec<_> = self.proto().output.iter().map(name_and_type).collect();
        for (name, ty) in outputs {
            let dangling = || Error::DanglingInput { value: name.clone(), reader: "a graph output".to_owned() };
            let id = self.value_id(&name).ok_or_else(dangling)?;
            let value = self.value_mut(id);
            value.is_output = true;
            value.ty = value.ty.take().or(ty);
            self.outputs.push(id);
        }
        Ok(())
    }

    fn declare(&mut self, infos: Vec<ValueInfoProto>) {
        for info in infos {
            let Some(id) = self.value_id(info.name()) else { continue };
            let ty = info.type_.as_ref().and_then(ValueType::from_proto);
            let value = self.value_mut(id);
            value.ty = value.ty.take().or(ty);
            self.declared.insert(id, info);
        }
    }

    fn sort(&mut self) -> Result<()> {
        let items: Vec<u32> = (0..self.nodes.len() as u32).collect();
        let in_order = items.iter().all(|&node| self.predecessors(node).all(|before| before < node));
        let sorted = match in_order {
            true => items,
            false => order::sort(&items, |node| self.predecessors(node)).map_err(|cycle| self.cycle_error(&cycle))?,
        };
        self.order = Order::from_sequence(sorted);
        Ok(())
    }

    /// Adds a value, refusing a second one of the same name.
    pub(super) fn define(&mut self, name: &str, ty: Option<ValueType>, producer: Producer) -> Result<ValueId> {
        if name.is_empty() {
            return Err(Error::Incomplete { what: self.describe(producer), missing: "name" });
        }
        if let Some(existing) = self.value_id(name) {
            return Err(self.duplicate(name, self.value(existing).producer, producer));
        }
        let id = ValueId(self.values.len() as u32);
        let value = Value { name: name.to_owned(), ty, producer, consumers: Vec::new(), is_output: false };
        self.values.push(Some(value));
        self.names.insert(name.to_owned(), id);
        Ok(id)
    }

    pub(super) fn duplicate(&self, name: &str, first: Producer, second: Producer) -> Error {
        Error::DuplicateValue { value: name.to_owned(), first: self.describe(first), second: self.describe(second) }
    }

    fn describe(&self, producer: Producer) -> String {
        match producer {
            Producer::GraphInput => "a graph input".to_owned(),
            Producer::Initializer => "an initializer".to_owned(),
            Producer::Node { node, .. } => match self.nodes.get(node.index()).and_then(Option::as_ref) {
                Some(entry) => format!("node {:?}", display_name(&entry.proto)),
                None => "a node".to_owned(),
            },
        }
    }

    pub(super) fn entry_mut(&mut self, node: NodeId) -> &mut Node {
        self.nodes[node.index()].as_mut().expect("the node is in the graph")
    }

    pub(super) fn value_mut(&mut self, value: ValueId) -> &mut Value {
        self.values[value.index()].as_mut().expect("the value is in the graph")
    }

    /// The edited model: nodes in order, types of all values as far as known, everything else as it was read.
    ///
    /// # Errors
    /// None at present; the result leaves room for checks.
    pub fn into_model(mut self) -> Result<Model> {
        let node = self.order.iter().collect::<Vec<_>>();
        let node = node.into_iter().filter_map(|id| self.nodes[id as usize].take()).map(|node| node.proto).collect();
        let value_info = self.value_infos();
        let input_types = self.changed_types(&self.proto().input);
        let output_types = self.changed_types(&self.proto().output);
        let initializers = take(&mut self.initializers);
        let names = &self.names;
        let graph = self.model.proto.graph.mut_or_insert_default();
        graph.input.retain(|info| names.contains_key(info.name()));
        graph.node = node;
        graph.initializer = initializers.into_values().collect();
        graph.value_info = value_info;
        set_types(&mut graph.input, &input_types);
        set_types(&mut graph.output, &output_types);
        Ok(self.model)
    }

    fn value_infos(&mut self) -> Vec<ValueInfoProto> {
        let mut declared = take(&mut self.declared);
        let ids: Vec<ValueId> = self.value_ids().collect();
        ids.into_iter().filter_map(|id| self.value_info(id, declared.remove(&id))).collect()
    }

    /// What to write about a value: the model's own declaration, with the type as it is now.
    fn value_info(&self, id: ValueId, declared: Option<ValueInfoProto>) -> Option<ValueInfoProto> {
        let value = self.value(id);
        let computed = matches!(value.producer, Producer::Node { .. }) && !value.is_output;
        let mut info = match declared {
            Some(info) => info,
            None if computed => value_info(&value.name, value.ty.as_ref()?),
            None => return None,
        };
        info.name = Some(value.name.clone());
        let known = info.type_.as_ref().and_then(ValueType::from_proto);
        if known != value.ty {
            match &value.ty {
                Some(ty) => info.type_ = ty.to_proto().into(),
                None => return None,
            }
        }
        info.type_.is_some().then_some(info)
    }

    fn changed_types(&self, infos: &[ValueInfoProto]) -> HashMap<String, ValueType> {
        let changed = |info: &ValueInfoProto| {
            let ty = self.value(self.value_id(info.name())?).ty.clone()?;
            let declared = info.type_.as_ref().and_then(ValueType::from_proto);
            (declared.as_ref() != Some(&ty)).then(|| (info.name().to_owned(), ty))
        };
        infos.iter().filter_map(changed).collect()
    }
}

fn set_types(infos: &mut [ValueInfoProto], types: &HashMap<String, ValueType>) {
    for info in infos {
        if let Some(proto) = types.get(info.name()).and_then(ValueType::to_proto) {
            info.type_ = Some(proto).into();
        }
    }
}

fn name_and_type(info: &ValueInfoProto) -> (String, Option<ValueType>) {
    (info.name().to_owned(), info.type_.as_ref().and_then(ValueType::from_proto))
}

pub(super) fn tensor_type(tensor: &TensorProto, dims: &[i64]) -> Option<ValueType> {
    let element = ElementType::from_onnx(tensor.data_type.filter(|&number| number != 0)?);
    let shape = dims.iter().map(|&size| u64::try_from(size).map_or(Dimension::Unknown, Dimension::Fixed)).collect();
    Some(TensorType { element, shape: Some(shape) }.into())
}
