//! Applies a precision table: half-precision nodes get half-precision data, and casts stand only where precisions meet.
//!
//! Pattern: a node marked FP16 with 32-bit data. Result: the same node on 16-bit data; constants converted, once per precision that uses them;
//! one cast per value and direction. Precondition: types of all values are known. Model inputs and outputs keep their types.
//! Numerical effect: every value written by a converted node is rounded to half precision (nearest even).

use super::Pass;
use crate::precision::{FloatSlots, NodePrecision, PrecisionTable, is_cast};
use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::collections::HashMap;
use trtforge_graph::construct::{int, node};
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Slot, Tensor, TensorType, ValueId, ValueType};

/// The pass; holds the decisions it applies.
pub struct ConvertToHalf<'a> {
    /// Which node computes in what.
    pub table: &'a PrecisionTable,
}

impl Pass for ConvertToHalf<'_> {
    fn name(&self) -> &'static str {
        "convert-to-half"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let mut conversion = Conversion::new(graph, self.table);
        conversion.run()?;
        Ok(conversion.finish().into_iter().collect())
    }
}

struct Conversion<'g> {
    graph: &'g mut Graph,
    table: &'g PrecisionTable,
    patch: Patch,
    changed: bool,
    /// Values that become half precision, with the name under which the half value is found.
    half_names: HashMap<ValueId, String>,
    /// 32-bit copies made of half values, and half copies made of 32-bit values.
    float_copies: HashMap<ValueId, String>,
    half_copies: HashMap<ValueId, String>,
}

impl<'g> Conversion<'g> {
    fn new(graph: &'g mut Graph, table: &'g PrecisionTable) -> Self {
        let patch = Patch::new("convert nodes to half precision");
        Conversion {
            graph,
            table,
            patch,
            changed: false,
            half_names: HashMap::new(),
            float_copies: HashMap::new(),
            half_copies: HashMap::new(),
        }
    }

    fn run(&mut self) -> Result<()> {
        let nodes: Vec<NodeId> = self.graph.node_ids().collect();
        for &node in &nodes {
            if self.is_half(node) {
                self.convert_outputs(node)?;
            }
        }
        for &node in &nodes {
            let convertible = if self.is_half(node) { FloatSlots::of(self.graph, node) } else { None };
            match convertible {
                Some(slots) => self.convert_inputs(node, &slots)?,
                None => self.restore_inputs(node)?,
            }
        }
        Ok(())
    }

    fn finish(self) -> Option<Patch> {
        self.changed.then_some(self.patch)
    }

    fn is_half(&self, node: NodeId) -> bool {
        self.table.precision(node) == NodePrecision::Fp16
    }

    /// Retypes the outputs. A value that must stay 32-bit under its own name (a model output, or one that a subgraph reads) gets a new half name and a cast.
    fn convert_outputs(&mut self, node: NodeId) -> Result<()> {
        let Some(slots) = FloatSlots::of(self.graph, node) else { return Ok(()) };
        for slot in slots.outputs {
            let Some(value) = self.graph.output(node, slot) else { continue };
            let half_type = half_type(self.graph, value).ok_or_else(|| self.unknown(value, node))?;
            self.changed = true;
            let name = self.graph.value(value).name.clone();
            if self.needs_own_name(value) {
                let half_name = self.graph.unique_name(&format!("{name}__half"));
                self.patch.rename_output(node, slot, &half_name);
                self.patch.retype(half_name.as_str(), half_type);
                self.add_cast(&half_name, &name, ElementType::Float32, value);
                self.half_names.insert(value, half_name);
                self.float_copies.insert(value, name);
            } else {
                self.patch.retype(name.as_str(), half_type);
                self.half_names.insert(value, name);
            }
        }
        if is_cast(self.graph, node) {
            self.patch.set_attribute(node, int("to", i64::from(ElementType::Float16.to_onnx())));
        }
        Ok(())
    }

    fn needs_own_name(&self, value: ValueId) -> bool {
        let value = self.graph.value(value);
        value.is_output || value.consumers.iter().any(|user| matches!(user.slot, Slot::Capture))
    }

    fn convert_inputs(&mut self, node: NodeId, slots: &FloatSlots) -> Result<()> {
        for slot in 0..self.graph.inputs(node).len() {
            let Some(value) = self.graph.inputs(node)[slot] else { continue };
            if slots.inputs.contains(&slot) {
                let name = self.half_name(value, node)?;
                self.read_from(node, slot, value, &name);
            } else {
                self.restore_input(node, slot, value)?;
            }
        }
        Ok(())
    }

    fn restore_inputs(&mut self, node: NodeId) -> Result<()> {
        for slot in 0..self.graph.inputs(node).len() {
            if let Some(value) = self.graph.inputs(node)[slot] {
                self.restore_input(node, slot, value)?;
            }
        }
        Ok(())
    }

    /// Gives a slot that wants 32 bits its 32 bits back. Cast and Shape read any type, so they read the half value as it is.
    fn restore_input(&mut self, node: NodeId, slot: usize, value: ValueId) -> Result<()> {
        let Some(half_name) = self.half_names.get(&value).cloned() else { return Ok(()) };
        if matches!(self.graph.op_type(node), "Cast" | "Shape" | "Size") {
            self.read_from(node, slot, value, &half_name);
            return Ok(());
        }
        let name = match self.float_copies.get(&value) {
            Some(name) => name.clone(),
            None => {
                let name = self.graph.unique_name(&format!("{}__float", self.graph.value(value).name));
                self.add_cast(&half_name, &name, ElementType::Float32, value);
                self.float_copies.insert(value, name.clone());
                name
            }
        };
        self.read_from(node, slot, value, &name);
        Ok(())
    }

    fn read_from(&mut self, node: NodeId, slot: usize, value: ValueId, name: &str) {
        if self.graph.value(value).name != name {
            self.patch.replace_input(node, slot, name);
            self.changed = true;
        }
    }

    /// The half-precision form of a value: its own where its producer was converted, else a converted constant or a cast.
    fn half_name(&mut self, value: ValueId, user: NodeId) -> Result<String> {
        if let Some(name) = self.half_names.get(&value).or_else(|| self.half_copies.get(&value)) {
            return Ok(name.clone());
        }
        let name = self.graph.unique_name(&format!("{}__half", self.graph.value(value).name));
        match self.graph.constant(value).as_ref().and_then(to_half) {
            Some(tensor) => {
                self.patch.add_initializer(tensor.to_proto(&name));
            }
            None => {
                let source = self.graph.value(value).name.clone();
                half_type(self.graph, value).ok_or_else(|| self.unknown(value, user))?;
                self.add_cast(&source, &name, ElementType::Float16, value);
            }
        }
        self.half_copies.insert(value, name.clone());
        Ok(name)
    }

    fn add_cast(&mut self, from: &str, to: &str, element: ElementType, like: ValueId) {
        let ty = with_element(self.graph, like, element);
        let name = format!("{to}__cast");
        let cast = node("Cast", &name, [from], [to]).attr_int("to", i64::from(element.to_onnx()));
        self.patch.add_node(cast, vec![ty]);
        self.changed = true;
    }

    fn unknown(&self, value: ValueId, node: NodeId) -> Error {
        Error::UnknownType {
            value: self.graph.value(value).name.clone(),
            node: crate::precision::node_label(self.graph, node),
        }
    }
}

fn with_element(graph: &Graph, value: ValueId, element: ElementType) -> Option<ValueType> {
    match &graph.value(value).ty {
        Some(ValueType::Tensor(ty)) => Some(ValueType::Tensor(TensorType { element, shape: ty.shape.clone() })),
        _ => None,
    }
}

fn half_type(graph: &Graph, value: ValueId) -> Option<ValueType> {
    with_element(graph, value, ElementType::Float16)
}

/// Rounds a 32-bit tensor to the nearest half-precision numbers; a value too small for half becomes a zero of its own sign.
fn to_half(tensor: &Tensor) -> Option<Tensor> {
    let source = tensor.to_vec_f32().ok().filter(|_| tensor.element == ElementType::Float32)?;
    let mut target = vec![f16::ZERO; source.len()];
    target.convert_from_f32_slice(&source);
    Tensor::from_vec(tensor.shape.clone(), target).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_signs_and_infinities() {
        let tensor = Tensor::from_vec(vec![5], vec![1e-9f32, -1e-9, f32::INFINITY, 0.1, -65504.0]).unwrap();
        let half = to_half(&tensor).unwrap();
        let values = half.as_slice::<f16>().unwrap();
        assert!(values[0].is_sign_positive() && values[1].is_sign_negative());
        assert_eq!((values[0].to_f32(), values[1].to_f32()), (0.0, -0.0));
        assert_eq!((values[2], values[4]), (f16::INFINITY, f16::MIN));
        assert_eq!(values[3], f16::from_f32(0.1));
    }
}
