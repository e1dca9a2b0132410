//! Models that come quantized: whether TensorRT takes what they say, whether it can be said in a form that it takes, or why not.
//!
//! Decides only; `passes::ConvertQuantization` rewrites. TensorRT takes symmetric signed 8 bits, one scale for an activation, one or one per output channel for a
//! weight, and biases in floating point; other tools' defaults are unsigned or asymmetric, quantize biases, or use operators on quantized tensors.

use super::{
    IntegerOperator, Layout, LinearParameters, MOVES, constants, is_dequantize, is_quantize, is_stored, layout,
    linear_parameters, moved_inputs, moved_parameters, parameters_of, weight_axis,
};
use crate::passes::{ConvertQuantization, RaiseOpset, run_pass};
use crate::precision::node_label;
use crate::{Error, Progress, Result, counted};
use serde::Serialize;
use trtforge_graph::{ElementType, Graph, NodeId, Producer, Slot, ValueId, ValueType};

/// What a model says of its own quantization.
#[derive(Clone, Debug, PartialEq)]
pub enum Existing {
    /// Nothing: it is not quantized.
    None,
    /// It is quantized as TensorRT takes it.
    TensorRtReady,
    /// It can be converted; these are the places that change.
    Convertible(Vec<Finding>),
    /// It cannot; these are the reasons.
    Refused(Vec<Finding>),
}

/// A node and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its name, or its first output where it has none.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// What TensorRT does not take.
    pub reason: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`: {}", self.operator, self.node, self.reason)
    }
}

impl Existing {
    /// A sentence for a person whose model is built as it is, in any precision but INT8; nothing where there is nothing to say.
    pub fn describe(&self) -> Option<String> {
        let first = |findings: &[Finding]| findings.first().map_or_else(String::new, Finding::to_string);
        match self {
            Existing::None => None,
            Existing::TensorRtReady => Some("the model comes quantized, and is built as it is".to_owned()),
            Existing::Convertible(findings) => Some(format!(
                "the model comes quantized in a way that TensorRT does not take; --precision int8 converts it ({}; {})",
                first(findings),
                counted(findings.len(), "place")
            )),
            Existing::Refused(findings) => Some(format!(
                "the model comes quantized in a way that TensorRT does not take ({}; {})",
                first(findings),
                counted(findings.len(), "place")
            )),
        }
    }
}

/// What is to be done about one node.
pub(crate) enum Verdict {
    /// It has nothing to do with quantization.
    Foreign,
    /// Nothing.
    Ready,
    /// It has to change, because of this.
    Convert(String),
    /// It stands in the way.
    Refuse(String),
}

/// Looks at every node of the main graph, which should know the type of every value.
pub fn recognise(graph: &Graph) -> Existing {
    let (mut quantized, mut convert, mut refuse) = (false, Vec::new(), Vec::new());
    for node in graph.node_ids() {
        let finding =
            |reason| Finding { node: node_label(graph, node), operator: graph.op_type(node).to_owned(), reason };
        match verdict(graph, node) {
            Verdict::Foreign => continue,
            Verdict::Ready => {}
            Verdict::Convert(reason) => convert.push(finding(reason)),
            Verdict::Refuse(reason) => refuse.push(finding(reason)),
        }
        quantized = true;
    }
    match (quantized, convert.is_empty(), refuse.is_empty()) {
        (false, _, _) => Existing::None,
        (true, _, false) => Existing::Refused(refuse),
        (true, true, true) => Existing::TensorRtReady,
        (true, false, true) => Existing::Convertible(convert),
    }
}

/// Brings the quantization that a model carries into the form that TensorRT takes, and says what it was before.
///
/// A model without quantization, or with one that TensorRT takes, stays as it is. The opset is raised where the new form needs it.
///
/// # Errors
/// [`Error::Quantized`] where it cannot be converted; the errors of the passes.
pub fn settle(graph: &mut Graph, progress: &dyn Progress) -> Result<Existing> {
    let found = recognise(graph);
    match &found {
        Existing::None | Existing::TensorRtReady => return Ok(found),
        Existing::Refused(findings) => return Err(Error::Quantized { findings: findings.clone() }),
        Existing::Convertible(_) => {}
    }
    run_pass(&ConvertQuantization, graph, progress)?;
    let target = least_opset(graph);
    if graph.opset("").is_some_and(|opset| opset < target) {
        run_pass(&RaiseOpset { target }, graph, progress)?;
    }
    Ok(found)
}

/// The opset that the Q/DQ nodes of a graph need: scales per channel came with 13, half-precision ones with 19.
fn least_opset(graph: &Graph) -> i64 {
    let linear = graph.node_ids().filter(|&node| is_quantize(graph, node) || is_dequantize(graph, node));
    let needs = linear.filter_map(|node| linear_parameters(graph, node).ok()).map(|found| match found {
        found if found.scale_element != ElementType::Float32 => 19,
        found if !found.is_per_tensor() => 13,
        _ => 10,
    });
    needs.max().unwrap_or(10)
}

/// What is to be done about `node`.
pub(crate) fn verdict(graph: &Graph, node: NodeId) -> Verdict {
    match layout(graph, node) {
        Layout::Refused(reason) => return Verdict::Refuse(reason.to_owned()),
        Layout::Known(operator) => return integer_operator(graph, node, &operator),
        Layout::Plain => {}
    }
    let judged = if is_quantize(graph, node) {
        quantize(graph, node)
    } else if is_dequantize(graph, node) {
        dequantize(graph, node)
    } else {
        moving(graph, node)
    };
    judged.unwrap_or_else(Verdict::Refuse)
}

/// `Err` refuses.
type Judgement = std::result::Result<Verdict, String>;

fn integer_operator(graph: &Graph, node: NodeId, operator: &IntegerOperator) -> Verdict {
    match integer_operator_obstacle(graph, node, operator) {
        Some(reason) => Verdict::Refuse(reason),
        None => Verdict::Convert(format!("TensorRT has no such operator; {} between Q/DQ equals it", operator.float)),
    }
}

fn integer_operator_obstacle(graph: &Graph, node: NodeId, operator: &IntegerOperator) -> Option<String> {
    if let Some(peculiarity) = super::integer_operators::peculiarity(graph, node) {
        return Some(peculiarity.to_owned());
    }
    for &(data, scale, zero_point) in &operator.inputs {
        let Some(value) = graph.input(node, data) else { return Some("an input is missing".to_owned()) };
        let found = match constants(graph, graph.input(node, scale), graph.input(node, zero_point)) {
            Ok(found) => found,
            Err(why) => return Some(format!("input `{}`: {why}", graph.value(value).name)),
        };
        if !found.is_per_tensor() && !is_stored(graph, value) {
            return Some(format!("input `{}` has a scale per channel", graph.value(value).name));
        }
    }
    if let Some(bias) = operator.bias.and_then(|slot| graph.input(node, slot))
        && !is_stored(graph, bias)
    {
        return Some("its bias is not a constant".to_owned());
    }
    graph.input(node, operator.output.0)?;
    let output = graph.output(node, 0)?;
    match constants(graph, graph.input(node, operator.output.0), graph.input(node, operator.output.1)) {
        Err(why) => Some(format!("its output: {why}")),
        Ok(found) if !found.is_per_tensor() => Some("its output has a scale per channel".to_owned()),
        Ok(_) => reader_obstacle(graph, output),
    }
}

fn quantize(graph: &Graph, node: NodeId) -> Judgement {
    let found = linear_parameters(graph, node).map_err(|why| why.to_string())?;
    let (Some(data), Some(quantized)) = (graph.input(node, 0), graph.output(node, 0)) else {
        return Err("an input or output is missing".to_owned());
    };
    if found.limits().is_none() {
        return wide_or_small(&found, "quantizes to");
    }
    if let Some(obstacle) = reader_obstacle(graph, quantized) {
        return Err(obstacle);
    }
    if !found.is_per_tensor() && !is_stored(graph, data) {
        return Err("an activation has a scale per channel; TensorRT takes one scale".to_owned());
    }
    Ok(match describe_difference(graph, node, &found) {
        None => Verdict::Ready,
        Some(difference) => Verdict::Convert(difference),
    })
}

/// Types below 8 bits and 8-bit floating point are TensorRT's to judge; wider integers it does not take.
fn wide_or_small(found: &LinearParameters, does: &str) -> Judgement {
    use ElementType::{Int16, Int32, UInt16, UInt32};
    match found.element {
        Int16 | UInt16 | Int32 | UInt32 => Err(format!("it {does} {}; TensorRT takes int8", found.element)),
        _ => Ok(Verdict::Ready),
    }
}

fn describe_difference(graph: &Graph, node: NodeId, found: &LinearParameters) -> Option<String> {
    if found.is_symmetric_int8() && graph.domain(node).is_empty() {
        return None;
    }
    let symmetry = if found.is_symmetric() { "" } else { "asymmetric " };
    Some(format!("it is {symmetry}{}; TensorRT takes symmetric int8", found.element))
}

fn dequantize(graph: &Graph, node: NodeId) -> Judgement {
    let found = linear_parameters(graph, node).map_err(|why| why.to_string())?;
    let input = graph.input(node, 0).ok_or("its input is missing")?;
    if is_stored(graph, input) {
        return Ok(stored(graph, node, input, &found));
    }
    if found.limits().is_none() {
        return wide_or_small(&found, "reads");
    }
    if graph.value(input).producer == Producer::GraphInput {
        return Err("its 8-bit input is an input of the model".to_owned());
    }
    let moved = graph.producer(input).filter(|&node| MOVES.contains(&graph.op_type(node)));
    let quantized = moved.map_or_else(|| parameters_of(graph, input), |node| moved_parameters(graph, node));
    let quantized = quantized.ok_or("what it reads was not quantized with constant scales")?;
    if (&quantized.scale, quantized.at(0).1) != (&found.scale, found.at(0).1) || quantized.element != found.element {
        return Err("it dequantizes with another scale or zero-point than the tensor was quantized with".to_owned());
    }
    let weight = graph.producer(input).filter(|&node| is_quantize(graph, node)).and_then(|node| graph.input(node, 0));
    if weight.is_some_and(|weight| is_stored(graph, weight)) {
        return Ok(weight_verdict(graph, node, &found));
    }
    Ok(describe_difference(graph, node, &found).map_or(Verdict::Ready, Verdict::Convert))
}

fn stored(graph: &Graph, node: NodeId, input: ValueId, found: &LinearParameters) -> Verdict {
    let element = graph.value(input).ty.as_ref().and_then(ValueType::element).unwrap_or(found.element);
    match element {
        ElementType::Int8 | ElementType::UInt8 => weight_verdict(graph, node, found),
        ElementType::Int16 | ElementType::UInt16 | ElementType::Int32 | ElementType::UInt32 => {
            Verdict::Convert(format!("it reads a constant of {element}; TensorRT takes biases in floating point"))
        }
        _ => Verdict::Ready,
    }
}

/// Constants of 8 bits: what TensorRT takes, and along which axis.
fn weight_verdict(graph: &Graph, node: NodeId, found: &LinearParameters) -> Verdict {
    if let Some(difference) = describe_difference(graph, node, found) {
        return Verdict::Convert(difference);
    }
    if found.is_per_tensor() {
        return Verdict::Ready;
    }
    let Some(output) = graph.output(node, 0) else { return Verdict::Ready };
    let rank =
        graph.value(output).ty.as_ref().and_then(ValueType::tensor).and_then(|ty| Some(ty.shape.as_ref()?.len()));
    let axis = if found.axis < 0 { rank.map(|rank| rank as i64 + found.axis) } else { Some(found.axis) };
    match weight_axis(graph, output) {
        Some(wanted) if axis == Some(wanted as i64) => Verdict::Ready,
        Some(wanted) => {
            Verdict::Convert(format!("its scales lie along axis {}; TensorRT takes axis {wanted}", found.axis))
        }
        None => Verdict::Convert(
            "it has a scale per channel and is no weight of a convolution or matrix product".to_owned(),
        ),
    }
}

/// An operator that moves data around, of quantized data.
fn moving(graph: &Graph, node: NodeId) -> Judgement {
    if !(MOVES.contains(&graph.op_type(node)) && graph.domain(node).is_empty()) {
        return Ok(Verdict::Foreign);
    }
    let Some(found) = moved_parameters(graph, node) else { return Ok(Verdict::Foreign) };
    for slot in 1..moved_inputs(graph, node) {
        let other = graph.input(node, slot).and_then(|value| parameters_of(graph, value));
        if other.as_ref() != Some(&found) {
            return Err("its inputs are quantized with different scales".to_owned());
        }
    }
    for &output in graph.outputs(node).iter().flatten() {
        if let Some(obstacle) = reader_obstacle(graph, output) {
            return Err(obstacle);
        }
    }
    Ok(Verdict::Convert("it moves quantized data; TensorRT wants it between Q/DQ".to_owned()))
}

/// Why a quantized value cannot be read as it is: only a `DequantizeLinear`, and what can be rewritten to one, may read it.
fn reader_obstacle(graph: &Graph, quantized: ValueId) -> Option<String> {
    let value = graph.value(quantized);
    if value.is_output {
        return Some(format!("its 8-bit output `{}` is an output of the model", value.name));
    }
    let reads = |reader: &&trtforge_graph::Use| {
        let node = reader.node;
        let moves = MOVES.contains(&graph.op_type(node)) && graph.domain(node).is_empty();
        let known = matches!(layout(graph, node), Layout::Known(_));
        let slot = if let Slot::Input(slot) = reader.slot { slot } else { return false };
        (is_dequantize(graph, node) && slot == 0) || (moves && slot < moved_inputs(graph, node)) || known
    };
    let other = value.consumers.iter().find(|reader| !reads(reader))?;
    let label = node_label(graph, other.node);
    Some(format!("its 8-bit output is read by {} `{label}`, which is not DequantizeLinear", graph.op_type(other.node)))
}
