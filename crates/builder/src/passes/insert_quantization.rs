//! Writes a placement into the graph: explicit quantization as TensorRT reads it.
//!
//! Pattern: a tensor that the placement names. Result: one QuantizeLinear and one DequantizeLinear behind it, shared by all readers that the placement lists;
//! other readers, subgraphs and model outputs keep the tensor itself. A weight becomes a constant of signed 8-bit integers and one DequantizeLinear.
//! Everything is symmetric: zero-points are zeros. Numerical effect: rounding to the scale's grid, saturation beyond it.
//! Precondition: opset 13, for scales per channel; 19 before anything is turned into half precision.

use crate::int8::{ChannelMap, Equalization, Plan, Read, WeightSlot, scale_inputs};
use crate::precision::{NodePrecision, PrecisionRow, PrecisionTable, node_label};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::construct::{node, scalar, tensor};
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Tensor, TensorType, ValueId, ValueType};

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightForm {
    /// As integers behind a DequantizeLinear: what goes to TensorRT.
    Integers,
    /// As the 32-bit numbers that the integers stand for: the same arithmetic, faster on a CPU.
    Dequantized,
}

/// The rewrite.
pub struct InsertQuantization<'a> {
    /// Where quantization goes, and how.
    pub plan: &'a Plan,
    /// How weights are written.
    pub weights: WeightForm,
}

/// The nodes that were added, by what they stand for.
#[derive(Clone, Debug, Default)]
pub struct Inserted {
    /// QuantizeLinear and DequantizeLinear of each tensor.
    pub pairs: BTreeMap<ValueId, (NodeId, NodeId)>,
    /// What equalises tensors before they are quantized.
    pub equalizing: Vec<NodeId>,
    /// DequantizeLinear of each quantized weight, by the node that reads it.
    pub weights: BTreeMap<NodeId, NodeId>,
}

impl InsertQuantization<'_> {
    /// Applies the placement to `graph` at once.
    ///
    /// # Errors
    /// [`Error::Pass`] where the graph refuses, and where a tensor has no usable scale.
    pub fn apply(&self, graph: &mut Graph) -> Result<Inserted> {
        let mut patch = Patch::new("insert quantization");
        let mut added = Vec::new();
        let zero = graph.unique_name("quantization_zero_point");
        patch.add_initializer(scalar(&zero, 0i8));
        for (&value, tensor) in &self.plan.placement.tensors {
            if tensor.reads.is_empty() {
                continue;
            }
            self.add_pair(graph, &mut patch, value, &tensor.reads, &zero)?;
            added.extend(
                self.plan.equalizations.get(&value).into_iter().flat_map(|e| vec![Made::Equalize; nodes_of(e)]),
            );
            added.extend([Made::Quantize(value), Made::Dequantize(value)]);
        }
        for (&reader, &slot) in &self.plan.placement.weights {
            if self.add_weight(graph, &mut patch, reader, slot)? {
                added.push(Made::Weight(reader));
            }
        }
        self.add_float_weights(graph, &mut patch)?;
        for (&reader, correction) in &self.plan.corrections {
            self.correct_bias(graph, &mut patch, reader, correction);
        }
        let summary = graph.apply(patch).map_err(Error::pass("insert-quantization"))?;
        Ok(Inserted::collect(&added, &summary.added))
    }

    fn add_pair<'r>(
        &self,
        graph: &mut Graph,
        patch: &mut Patch,
        value: ValueId,
        reads: impl IntoIterator<Item = &'r Read>,
        zero: &str,
    ) -> Result<()> {
        let name = graph.value(value).name.clone();
        let scale = self.plan.scales.get(&value).copied().filter(|scale| scale.is_finite() && *scale > 0.0);
        let scale = scale.ok_or_else(|| Error::NoScale { tensor: name.clone() })?;
        let scale_name = graph.unique_name(&format!("{name}__scale"));
        let integers = graph.unique_name(&format!("{name}__int8"));
        let back = graph.unique_name(&format!("{name}__dequantized"));
        patch.add_initializer(scalar(&scale_name, scale));
        let source = match self.plan.equalizations.get(&value) {
            Some(equalization) => add_equalization(graph, patch, value, equalization),
            None => name.clone(),
        };
        patch.add_node(
            node("QuantizeLinear", &format!("{name}__quantize"), [source.as_str(), &scale_name, zero], [&integers]),
            vec![with_element(graph, value, ElementType::Int8)],
        );
        patch.add_node(
            node("DequantizeLinear", &format!("{name}__dequantize"), [integers.as_str(), &scale_name, zero], [&back]),
            vec![graph.value(value).ty.clone()],
        );
        reads.into_iter().for_each(|&(reader, slot)| {
            patch.replace_input(reader, slot, &back);
        });
        Ok(())
    }

    /// Weights that read an equalised tensor and are not quantized themselves are multiplied by its factors all the same.
    fn add_float_weights(&self, graph: &mut Graph, patch: &mut Patch) -> Result<()> {
        for (value, tensor) in &self.plan.placement.tensors {
            for &(reader, _) in &tensor.reads {
                let equalized = self.plan.equalizations.contains_key(value);
                if !equalized || self.plan.placement.weights.contains_key(&reader) {
                    continue;
                }
                let weight = graph.input(reader, 1).and_then(|weight| Some((weight, graph.constant(weight)?)));
                let scaled = weight.and_then(|(value, weight)| Some((value, self.equalized(graph, reader, weight)?)));
                let (weight, scaled) = scaled.ok_or_else(|| Error::NoScale { tensor: node_label(graph, reader) })?;
                let fresh = graph.unique_name(&format!("{}__equalized", graph.value(weight).name));
                patch.add_initializer(scaled.to_proto(&fresh));
                patch.replace_input(reader, 1, &fresh);
            }
        }
        Ok(())
    }

    /// The weight of a node, multiplied by the factors of the tensor that the node reads.
    fn equalized(&self, graph: &Graph, reader: NodeId, weight: Tensor) -> Option<Tensor> {
        match graph.input(reader, 0).and_then(|value| self.plan.equalizations.get(&value)) {
            Some(found) => scale_inputs(&weight, &ChannelMap::of(graph, reader, &weight)?, &found.factors),
            None => Some(weight),
        }
    }

    /// Adds the corrections to the biases of their nodes.
    fn correct_bias(&self, graph: &mut Graph, patch: &mut Patch, reader: NodeId, correction: &[f32]) {
        let old = graph.input(reader, 2).and_then(|value| graph.constant(value)?.to_vec_f32().ok());
        let bias = match old {
            Some(old) if old.len() == correction.len() => old.iter().zip(correction).map(|(a, b)| a + b).collect(),
            Some(_) => return,
            None => correction.to_vec(),
        };
        let fresh = graph.unique_name(&format!("{}__bias", node_label(graph, reader)));
        patch.add_initializer(tensor(&fresh, [bias.len() as u64], bias));
        patch.replace_input(reader, 2, &fresh);
    }

    /// Returns whether a node was added.
    fn add_weight(&self, graph: &mut Graph, patch: &mut Patch, reader: NodeId, slot: WeightSlot) -> Result<bool> {
        let value = graph.input(reader, slot.slot);
        let quantized = value.and_then(|value| Some((value, self.plan.quantized_weight(graph, reader)?)));
        let Some((value, quantized)) = quantized else {
            return Err(Error::NoScale {
                tensor: value.map(|value| graph.value(value).name.clone()).unwrap_or_default(),
            });
        };
        let name = graph.value(value).name.clone();
        if self.weights == WeightForm::Dequantized {
            let fresh = graph.unique_name(&format!("{name}__rounded"));
            patch.add_initializer(tensor(&fresh, quantized.values.shape.clone(), quantized.dequantized()));
            patch.replace_input(reader, slot.slot, &fresh);
            return Ok(false);
        }
        let integers = graph.unique_name(&format!("{name}__int8"));
        let scales = graph.unique_name(&format!("{name}__scales"));
        let zeros = graph.unique_name(&format!("{name}__zero_points"));
        let back = graph.unique_name(&format!("{name}__dequantized"));
        let channels: Vec<u64> = slot.axis.map(|_| quantized.scales.len() as u64).into_iter().collect();
        patch.add_initializer(quantized.values.to_proto(&integers));
        patch.add_initializer(tensor(&zeros, channels.clone(), vec![0i8; quantized.scales.len()]));
        patch.add_initializer(tensor(&scales, channels, quantized.scales));
        let mut dequantize =
            node("DequantizeLinear", &format!("{name}__dequantize"), [&integers, &scales, &zeros], [&back]);
        if let Some(axis) = slot.axis {
            dequantize = dequantize.attr_int("axis", axis as i64);
        }
        patch.add_node(dequantize, vec![graph.value(value).ty.clone()]);
        patch.replace_input(reader, slot.slot, &back);
        Ok(true)
    }
}

#[derive(Clone)]
enum Made {
    Equalize,
    Quantize(ValueId),
    Dequantize(ValueId),
    Weight(NodeId),
}

impl Inserted {
    /// Says of every added node whether its floating-point side is half precision: a QuantizeLinear follows what it reads, a DequantizeLinear who reads it.
    pub fn carry_over(&self, graph: &Graph, table: &mut PrecisionTable) {
        let mut rows: Vec<(NodeId, NodePrecision)> = Vec::new();
        for &(quantize, dequantize) in self.pairs.values() {
            let mut chain = vec![quantize];
            let mut source = graph.input(quantize, 0).and_then(|value| graph.producer(value));
            while let Some(node) = source.filter(|node| self.equalizing.contains(node)) {
                chain.push(node);
                source = graph.input(node, 0).and_then(|value| graph.producer(value));
            }
            let precision = source.map_or(NodePrecision::Fp32, |node| float_side(table.precision(node)));
            rows.extend(chain.into_iter().map(|node| (node, precision)));
            rows.push((dequantize, readers_precision(graph, table, dequantize)));
        }
        rows.extend(self.weights.values().map(|&node| (node, readers_precision(graph, table, node))));
        for (node, precision) in rows {
            let (name, operator) = (node_label(graph, node), graph.op_type(node).to_owned());
            table.set(node, PrecisionRow { node: name, operator, precision, reason: "carries 8-bit integers".into() });
        }
    }

    fn collect(made: &[Made], nodes: &[NodeId]) -> Inserted {
        let mut inserted = Inserted::default();
        let mut quantize = HashMap::new();
        for (made, &node) in made.iter().zip(nodes) {
            match made {
                Made::Equalize => inserted.equalizing.push(node),
                Made::Quantize(value) => drop(quantize.insert(*value, node)),
                Made::Dequantize(value) => drop(quantize.get(value).map(|&q| inserted.pairs.insert(*value, (q, node)))),
                Made::Weight(reader) => drop(inserted.weights.insert(*reader, node)),
            }
        }
        inserted
    }
}

/// How many nodes an equalisation takes.
fn nodes_of(equalization: &Equalization) -> usize {
    usize::from(divides(equalization)) + usize::from(shifts(equalization))
}

fn divides(equalization: &Equalization) -> bool {
    equalization.factors.iter().any(|&factor| factor != 1.0)
}

fn shifts(equalization: &Equalization) -> bool {
    equalization.offsets.iter().any(|&offset| offset != 0.0)
}

/// Puts `x * (1 / factor) - offset / factor` behind a tensor, without what would do nothing; channels are its second dimension.
fn add_equalization(graph: &mut Graph, patch: &mut Patch, value: ValueId, equalization: &Equalization) -> String {
    let mut current = graph.value(value).name.clone();
    let stem = current.clone();
    let channels = (0..equalization.factors.len()).map(|index| equalization.channel(index));
    if divides(equalization) {
        let reciprocals = channels.clone().map(|(factor, _)| factor.recip()).collect();
        current = add_channelwise(graph, patch, value, "Mul", &current, &format!("{stem}__equalized"), reciprocals);
    }
    if shifts(equalization) {
        let shifts = channels.map(|(factor, offset)| -offset / factor).collect();
        current = add_channelwise(graph, patch, value, "Add", &current, &format!("{stem}__centred"), shifts);
    }
    current
}

fn add_channelwise(
    graph: &mut Graph,
    patch: &mut Patch,
    like: ValueId,
    op: &str,
    from: &str,
    to: &str,
    constants: Vec<f32>,
) -> String {
    let to = graph.unique_name(to);
    let name = graph.unique_name(&format!("{to}__constants"));
    let rank = match &graph.value(like).ty {
        Some(ValueType::Tensor(TensorType { shape: Some(shape), .. })) => shape.len(),
        _ => 4,
    };
    let mut dims = vec![1; rank];
    dims[1] = constants.len() as u64;
    patch.add_initializer(tensor(&name, dims, constants));
    patch.add_node(node(op, &format!("{to}__{op}"), [from, &name], [&to]), vec![graph.value(like).ty.clone()]);
    to
}

/// Half precision where anyone who reads the node is half precision.
fn readers_precision(graph: &Graph, table: &PrecisionTable, node: NodeId) -> NodePrecision {
    let readers = graph.outputs(node).iter().flatten().flat_map(|&value| &graph.value(value).consumers);
    let half = readers.into_iter().any(|user| float_side(table.precision(user.node)) == NodePrecision::Fp16);
    if half { NodePrecision::Fp16 } else { NodePrecision::Fp32 }
}

fn float_side(precision: NodePrecision) -> NodePrecision {
    if precision == NodePrecision::Fp16 { NodePrecision::Fp16 } else { NodePrecision::Fp32 }
}

fn with_element(graph: &Graph, value: ValueId, element: ElementType) -> Option<ValueType> {
    match &graph.value(value).ty {
        Some(ValueType::Tensor(ty)) => Some(ValueType::Tensor(TensorType { element, shape: ty.shape.clone() })),
        _ => None,
    }
}
