//! Which nodes are convolutions or matrix products with stored weights, and what each computes in.

use super::Arithmetic;
use crate::quantization::{LinearParameters, is_dequantize, is_quantize, linear_parameters};
use trtforge_graph::{ElementType, Graph, NodeId, Producer, ValueId, ValueType};

/// Operators, with the slots of their data and of their weights.
const FLOATING: &[(&str, usize, usize)] = &[
    ("Conv", 0, 1),
    ("ConvTranspose", 0, 1),
    ("Gemm", 0, 1),
    ("MatMul", 0, 1),
    ("MatMul", 1, 0),
    ("DeformConv", 0, 1),
];

/// Operators on integers, which TensorRT does not have, with the slot of their weights.
const INTEGER: &[(&str, usize)] =
    &[("QLinearConv", 3), ("QLinearMatMul", 3), ("ConvInteger", 1), ("MatMulInteger", 1), ("QGemm", 3)];

/// Operators that only bring a stored weight into another form.
const TRANSPARENT: [&str; 8] =
    ["QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze"];

/// Longest chain of such operators that is followed; real exports have two or three.
const LONGEST_CHAIN: usize = 8;

pub(super) struct Judged {
    pub arithmetic: Arithmetic,
    pub reason: Option<String>,
    pub weights: Option<u64>,
}

/// What a node computes in; `None` where it is neither a convolution nor a matrix product with stored weights.
pub(super) fn judge(graph: &Graph, node: NodeId) -> Option<Judged> {
    let operator = graph.op_type(node);
    if let Some(&(_, slot)) = INTEGER.iter().find(|(name, _)| *name == operator) {
        let weights = elements(graph, graph.input(node, slot)?);
        let reason = Some("TensorRT has no such operator; it quantizes by Q/DQ pairs".to_owned());
        return Some(Judged { arithmetic: Arithmetic::Other, reason, weights });
    }
    let (data, weight) = data_and_weight(graph, node)?;
    let weights = elements(graph, stored(graph, weight)?);
    let (arithmetic, reason) = match why_not_int8(graph, node, data, weight) {
        None => (Arithmetic::Int8, None),
        Some(reason) => (by_type(graph, data), reason),
    };
    Some(Judged { arithmetic, reason, weights })
}

/// The data and the weight of a node that has stored weights.
pub(super) fn data_and_weight(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    if !graph.domain(node).is_empty() {
        return None;
    }
    let slots = FLOATING.iter().filter(|(name, _, _)| *name == graph.op_type(node));
    let values = slots.filter_map(|&(_, data, weight)| Some((graph.input(node, data)?, graph.input(node, weight)?)));
    values.into_iter().find(|&(_, weight)| stored(graph, weight).is_some())
}

/// The constant at the end of a chain of operators that keep its numbers, if there is one.
pub(super) fn stored(graph: &Graph, mut value: ValueId) -> Option<ValueId> {
    for _ in 0..LONGEST_CHAIN {
        match graph.value(value).producer {
            Producer::Initializer => return Some(value),
            Producer::Node { node, .. } if graph.op_type(node) == "Constant" => return Some(value),
            Producer::Node { node, .. } if TRANSPARENT.contains(&graph.op_type(node)) => {
                value = graph.input(node, 0)?;
            }
            _ => return None,
        }
    }
    None
}

/// `None` for INT8; else what stands in the way, in words where some of it is quantized.
fn why_not_int8(graph: &Graph, node: NodeId, data: ValueId, weight: ValueId) -> Option<Option<String>> {
    let (data, weight) = (dequantized(graph, data), dequantized(graph, weight));
    match (&data, &weight) {
        (None, None) => return Some(None),
        (Some(_), None) => return Some(Some("its weights are not quantized".to_owned())),
        (None, Some(_)) => return Some(Some("its input is not quantized".to_owned())),
        (Some(_), Some(_)) if graph.op_type(node) == "DeformConv" => {
            return Some(Some("DeformConv has no INT8 kernel".to_owned()));
        }
        (Some(_), Some(_)) => {}
    }
    let unfit = |what: &str, parameters: Option<Option<LinearParameters>>, per_tensor: bool| match parameters.flatten()
    {
        None => Some(format!("the scale of its {what} is not usable")),
        Some(found) if !found.is_symmetric_int8() => {
            Some(format!("its {what} {} {} and not symmetric int8", plural(what), describe(&found)))
        }
        Some(found) if per_tensor && !found.is_per_tensor() => Some(format!("its {what} has a scale per channel")),
        Some(_) => None,
    };
    unfit("input", data, true).or_else(|| unfit("weights", weight, false)).map(Some)
}

fn plural(what: &str) -> &'static str {
    if what.ends_with('s') { "are" } else { "is" }
}

fn describe(parameters: &LinearParameters) -> String {
    let symmetry = if parameters.is_symmetric() { "" } else { "asymmetric " };
    format!("{symmetry}{}", parameters.element)
}

/// The parameters of the `DequantizeLinear` that makes a value; the inner `None` where they cannot be used.
fn dequantized(graph: &Graph, value: ValueId) -> Option<Option<LinearParameters>> {
    let node = graph.producer(value).filter(|&node| is_dequantize(graph, node))?;
    Some(linear_parameters(graph, node).ok().filter(|_| graph.domain(node).is_empty()))
}

/// The `QuantizeLinear` before a `DequantizeLinear`, if there is one.
pub(super) fn quantize_before(graph: &Graph, dequantize: NodeId) -> Option<NodeId> {
    graph.input(dequantize, 0).and_then(|value| graph.producer(value)).filter(|&node| is_quantize(graph, node))
}

fn by_type(graph: &Graph, value: ValueId) -> Arithmetic {
    match graph.value(value).ty.as_ref().and_then(ValueType::element) {
        Some(ElementType::Float16) => Arithmetic::Fp16,
        Some(ElementType::Float32) => Arithmetic::Fp32,
        // Untyped graphs are those that nothing could infer; nearly every model of that kind is plain FP32, and a wrong `other` would tell less.
        None => Arithmetic::Fp32,
        Some(_) => Arithmetic::Other,
    }
}

fn elements(graph: &Graph, value: ValueId) -> Option<u64> {
    graph.value(value).ty.as_ref().and_then(ValueType::tensor).and_then(|tensor| tensor.element_count())
}
