//! Brings the quantization that a model carries into the form that TensorRT takes: symmetric signed 8 bits in Q/DQ pairs, biases in floating point.
//!
//! Patterns and results, one kind a round:
//! an operator on quantized tensors (`QLinearConv` and its kin) becomes its floating-point form between `DequantizeLinear` and `QuantizeLinear`;
//! an operator that moves quantized data is put between such a pair;
//! a `QuantizeLinear` with its readers becomes symmetric int8 of the same reach;
//! a stored tensor is dequantized exactly and quantized again per output channel, or kept in floating point where it is no weight.
//! Precondition: `quantization::existing::recognise` calls the graph convertible. Numerical effect: the step of an asymmetric tensor up to doubles, as 8 bits have to
//! cover both signs; weights change by at most half a step of their new, usually finer, scale. Everything else is exact.

mod activations;
mod operators;
mod weights;

use super::Pass;
use crate::quantization::existing::{Verdict, verdict};
use crate::quantization::{Layout, is_dequantize, is_quantize, is_stored, layout};
use crate::{Error, Result};
use half::{bf16, f16};
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Tensor, TensorType, ValueId, ValueType};

/// The pass.
pub struct ConvertQuantization;

impl Pass for ConvertQuantization {
    fn name(&self) -> &'static str {
        "convert-quantization"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let convert: Vec<NodeId> =
            graph.node_ids().filter(|&node| matches!(verdict(graph, node), Verdict::Convert(_))).collect();
        let (linear, others): (Vec<NodeId>, Vec<NodeId>) =
            convert.into_iter().partition(|&node| is_quantize(graph, node) || is_dequantize(graph, node));
        let (operators, moves): (Vec<NodeId>, Vec<NodeId>) =
            others.into_iter().partition(|&node| matches!(layout(graph, node), Layout::Known(_)));
        if !operators.is_empty() {
            return operators.into_iter().map(|node| operators::expand(graph, node)).collect();
        }
        if !moves.is_empty() {
            return moves.into_iter().map(|node| operators::surround(graph, node)).collect();
        }
        let mut patches = Vec::new();
        for node in linear {
            let patch = match graph.input(node, 0) {
                Some(_) if is_quantize(graph, node) && !reads_stored(graph, node) => activations::convert(graph, node)?,
                Some(_) if is_dequantize(graph, node) => weights::convert(graph, node)?,
                _ => None,
            };
            patches.extend(patch);
        }
        Ok(patches)
    }

    fn max_rounds(&self) -> usize {
        16
    }
}

fn reads_stored(graph: &Graph, node: NodeId) -> bool {
    graph.input(node, 0).is_some_and(|value| is_stored(graph, value))
}

fn name(graph: &Graph, value: ValueId) -> String {
    graph.value(value).name.clone()
}

/// The type of `value` with another element type.
fn with_element(graph: &Graph, value: ValueId, element: ElementType) -> Option<ValueType> {
    let shape = graph.value(value).ty.as_ref()?.tensor()?.shape.clone();
    Some(TensorType { element, shape }.into())
}

/// Adds scales and zero-points of zero as initializers named after `stem`; returns their names.
fn add_symmetric(
    graph: &mut Graph,
    patch: &mut Patch,
    stem: &str,
    scales: &[f32],
    element: ElementType,
) -> Result<[String; 2]> {
    let shape = if scales.len() == 1 { vec![] } else { vec![scales.len() as u64] };
    let names = [graph.unique_name(&format!("{stem}__scale")), graph.unique_name(&format!("{stem}__zero_point"))];
    let tensors = [store(shape.clone(), scales.to_vec(), element), Tensor::from_vec(shape, vec![0i8; scales.len()])];
    for (tensor, name) in tensors.into_iter().zip(&names) {
        patch.add_initializer(tensor.map_err(Error::pass("convert-quantization"))?.to_proto(name));
    }
    Ok(names)
}

/// Numbers in the floating-point type of a model.
fn store(shape: Vec<u64>, values: Vec<f32>, element: ElementType) -> trtforge_graph::Result<Tensor> {
    match element {
        ElementType::Float16 => Tensor::from_vec(shape, values.into_iter().map(f16::from_f32).collect()),
        ElementType::BFloat16 => Tensor::from_vec(shape, values.into_iter().map(bf16::from_f32).collect()),
        _ => Tensor::from_vec(shape, values),
    }
}

/// A scale as the type of a model holds it; never zero, which nothing can be divided by.
fn representable(scale: f32, element: ElementType) -> f32 {
    match element {
        ElementType::Float16 => f16::from_f32(scale).to_f32().max(f16::from_bits(1).to_f32()),
        ElementType::BFloat16 => bf16::from_f32(scale).to_f32().max(bf16::from_bits(1).to_f32()),
        _ => scale.max(f32::MIN_POSITIVE),
    }
}

fn stuck(graph: &Graph, node: NodeId, reason: &str) -> Error {
    let finding = crate::quantization::existing::Finding {
        node: crate::precision::node_label(graph, node),
        operator: graph.op_type(node).to_owned(),
        reason: reason.to_owned(),
    };
    Error::Quantized { findings: vec![finding] }
}
