//! A `QuantizeLinear` and the `DequantizeLinear` nodes that read it, as one symmetric int8 pair of the same reach.
//!
//! Quantizers leave out a Relu where the zero-point cuts off everything below zero anyway. A symmetric pair does not cut, so it is put back.

use super::{add_symmetric, name, representable, stuck, with_element};
use crate::Result;
use crate::quantization::{LinearParameters, is_dequantize, is_quantize, linear_parameters};
use trtforge_graph::construct::{node, tensor};
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Tensor, ValueId};

/// Operators that never write a negative number.
const NEVER_NEGATIVE: &[&str] = &["Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Softplus"];

/// Operators that write no negative number if they read none.
const KEEPS_SIGN: &[&str] = &[
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Concat",
    "Add",
    "Reshape",
    "Flatten",
    "Transpose",
    "Slice",
    "Split",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "QuantizeLinear",
    "DequantizeLinear",
];

/// How far back the sign of a value is looked for.
const LONGEST_CHAIN: usize = 6;

pub(super) fn convert(graph: &mut Graph, quantize: NodeId) -> Result<Option<Patch>> {
    let found = linear_parameters(graph, quantize).map_err(|why| stuck(graph, quantize, &why.to_string()))?;
    let (Some(data), Some(quantized)) = (graph.input(quantize, 0), graph.output(quantize, 0)) else {
        return Ok(None);
    };
    let readers: Vec<NodeId> = graph.value(quantized).consumers.iter().map(|reader| reader.node).collect();
    if readers.iter().any(|&reader| !is_dequantize(graph, reader)) {
        return Err(stuck(graph, quantize, "its output is read by more than DequantizeLinear"));
    }
    let own = name(graph, quantized);
    let mut patch = Patch::new(format!("make `{own}` symmetric"));
    let scale = symmetric_scale(&found).ok_or_else(|| stuck(graph, quantize, "it is not of 8 bits"))?;
    let scale = representable(scale, found.scale_element);
    let [scale, zero_point] = add_symmetric(graph, &mut patch, &own, &[scale], found.scale_element)?;
    let source = clamped(graph, &mut patch, data, &found);
    patch.remove_node(quantize);
    let label = graph.node(quantize).name().to_owned();
    let added = node("QuantizeLinear", &label, [&source, &scale, &zero_point], [&own]);
    patch.add_node(added, vec![with_element(graph, quantized, ElementType::Int8)]);
    for reader in readers {
        let Some(output) = graph.output(reader, 0) else { continue };
        patch.remove_node(reader);
        let added =
            node("DequantizeLinear", graph.node(reader).name(), [&own, &scale, &zero_point], [name(graph, output)]);
        patch.add_node(added, vec![with_element(graph, output, found.scale_element)]);
    }
    Ok(Some(patch))
}

/// The scale with which 127 steps reach as far as the old range did on its longer side. Unsigned numbers around 128 are signed ones around 0: the scale stays.
fn symmetric_scale(found: &LinearParameters) -> Option<f32> {
    let (least, most) = found.limits()?;
    let (scale, zero_point) = found.at(0);
    if 2 * zero_point == least + most + 1 {
        return Some(scale);
    }
    let steps = (zero_point - least).abs().max((most - zero_point).abs());
    Some(scale * steps as f32 / 127.0)
}

/// The value to quantize: `data`, cut off at zero where the old range ended there and `data` may go further.
fn clamped(graph: &mut Graph, patch: &mut Patch, data: ValueId, found: &LinearParameters) -> String {
    let own = name(graph, data);
    let (Some((least, most)), zero_point) = (found.limits(), found.at(0).1) else { return own };
    // A model's input is what the caller gives: it is in the range that it was calibrated with, or nothing fits.
    let outside = graph.producer(data).is_none();
    if outside || (zero_point != least && zero_point != most) || (zero_point == least && is_never_negative(graph, data))
    {
        return own;
    }
    let cut = graph.unique_name(&format!("{own}__cut"));
    let ty = graph.value(data).ty.clone();
    let added = if zero_point == least {
        node("Relu", &cut, [own], [cut.clone()])
    } else {
        let zero = graph.unique_name(&format!("{own}__zero"));
        patch.add_initializer(zero_tensor(&zero, found.scale_element));
        node("Min", &cut, [own, zero], [cut.clone()])
    };
    patch.add_node(added, vec![ty]);
    cut
}

fn zero_tensor(name: &str, element: ElementType) -> trtforge_graph::proto::TensorProto {
    let stored = super::store(vec![], vec![0.0], element);
    stored.as_ref().map_or_else(|_| tensor(name, [], vec![0.0f32]), |zero: &Tensor| zero.to_proto(name))
}

fn is_never_negative(graph: &Graph, value: ValueId) -> bool {
    sign_is_known(graph, value, LONGEST_CHAIN)
}

fn sign_is_known(graph: &Graph, value: ValueId, depth: usize) -> bool {
    let Some(node) = graph.producer(value).filter(|_| depth > 0) else { return false };
    let operator = graph.op_type(node);
    if NEVER_NEGATIVE.contains(&operator) {
        return true;
    }
    let linear = is_quantize(graph, node) || is_dequantize(graph, node);
    if linear
        && linear_parameters(graph, node).is_ok_and(|found| found.limits().is_some_and(|(l, _)| found.at(0).1 == l))
    {
        return true;
    }
    if !KEEPS_SIGN.contains(&operator) {
        return false;
    }
    let read = if matches!(operator, "Concat" | "Add") { usize::MAX } else { 1 };
    graph.inputs(node).iter().flatten().take(read).all(|&input| sign_is_known(graph, input, depth - 1))
}
