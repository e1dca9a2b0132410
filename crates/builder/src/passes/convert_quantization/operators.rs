//! Operators on quantized tensors, put between `DequantizeLinear` and `QuantizeLinear`.

use super::{name, store, stuck, with_element};
use crate::quantization::{
    IntegerOperator, Layout, LinearParameters, OWN_ATTRIBUTES, constants, layout, moved_inputs, moved_parameters,
};
use crate::{Error, Result};
use trtforge_graph::construct::node;
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Tensor, ValueId, ValueType};

/// The floating-point form of an operator on quantized tensors.
pub(super) fn expand(graph: &mut Graph, id: NodeId) -> Result<Patch> {
    let Layout::Known(operator) = layout(graph, id) else {
        return Err(stuck(graph, id, "it is not an operator on quantized tensors"));
    };
    let mut patch = Patch::new(format!("expand `{}`", crate::precision::node_label(graph, id)));
    let mut inputs = Vec::new();
    let mut product = Vec::new();
    for &(data, scale, zero_point) in &operator.inputs {
        let (Some(value), Some(scale)) = (graph.input(id, data), graph.input(id, scale)) else {
            return Err(stuck(graph, id, "an input is missing"));
        };
        let zero_point = graph.input(id, zero_point);
        let found = constants(graph, Some(scale), zero_point).map_err(|why| stuck(graph, id, &why.to_string()))?;
        let axis = weight_axis(graph, id, &operator);
        let names = [Some(value), Some(scale), zero_point].into_iter().flatten().map(|value| name(graph, value));
        inputs.push(dequantize(graph, &mut patch, value, names.collect(), &found, axis));
        product.push(found);
    }
    if let Some(bias) = operator.bias.and_then(|slot| graph.input(id, slot)) {
        inputs.push(float_bias(graph, &mut patch, id, bias, &product)?);
    }
    let output = graph.output(id, 0).ok_or_else(|| stuck(graph, id, "its output is missing"))?;
    let written = write_quantized(graph, &mut patch, id, &operator, output)?;
    let mut plain = node(operator.float, graph.node(id).name(), inputs, [written.clone()]);
    let own = |attribute: &&trtforge_graph::proto::AttributeProto| !OWN_ATTRIBUTES.contains(&attribute.name());
    plain.attribute = graph.node(id).attribute.iter().filter(own).cloned().collect();
    patch.remove_node(id);
    let element = product.first().map_or(ElementType::Float32, |found| found.scale_element);
    let ty = with_element(graph, output, element);
    patch.add_node(plain, vec![ty]);
    Ok(patch)
}

/// Where the weights of an operator have their output channels.
fn weight_axis(graph: &Graph, id: NodeId, operator: &IntegerOperator) -> i64 {
    match operator.float {
        "MatMul" => -1,
        "Gemm" => i64::from(graph.attribute_int(id, "transB").unwrap_or(0) == 0),
        _ => 0,
    }
}

fn dequantize(
    graph: &mut Graph,
    patch: &mut Patch,
    value: ValueId,
    inputs: Vec<String>,
    found: &LinearParameters,
    axis: i64,
) -> String {
    let output = graph.unique_name(&format!("{}__dequantized", graph.value(value).name));
    let mut added = node("DequantizeLinear", &output, inputs, [output.clone()]);
    if !found.is_per_tensor() {
        added = added.attr_int("axis", axis);
    }
    patch.add_node(added, vec![with_element(graph, value, found.scale_element)]);
    output
}

/// A bias is stored in steps of the product of both scales; `alpha` scales it along with the product.
fn float_bias(
    graph: &mut Graph,
    patch: &mut Patch,
    id: NodeId,
    bias: ValueId,
    inputs: &[LinearParameters],
) -> Result<String> {
    let tensor = graph.constant(bias).ok_or_else(|| stuck(graph, id, "its bias is not a constant"))?;
    let steps = tensor.to_vec_i64().map_err(Error::pass("convert-quantization"))?;
    let alpha = f64::from(graph.attribute_float(id, "alpha").unwrap_or(1.0));
    let [data, weight] = inputs else { return Err(stuck(graph, id, "it has a bias and not two inputs")) };
    if weight.scale.len() != 1 && !steps.len().is_multiple_of(weight.scale.len()) {
        return Err(stuck(graph, id, "its bias and its weights have different numbers of channels"));
    }
    let channel = |index: usize| f64::from(weight.at(index % weight.scale.len()).0);
    let value = |(index, step): (usize, i64)| (step as f64 * f64::from(data.scale[0]) * channel(index) * alpha) as f32;
    let values = steps.into_iter().enumerate().map(value).collect();
    let name = graph.unique_name(&format!("{}__float", graph.value(bias).name));
    let tensor = store(tensor.shape, values, data.scale_element).map_err(Error::pass("convert-quantization"))?;
    patch.add_initializer(tensor.to_proto(&name));
    Ok(name)
}

/// Quantizes what the floating-point form will write, and says under which name it is to write it.
fn write_quantized(
    graph: &mut Graph,
    patch: &mut Patch,
    id: NodeId,
    operator: &IntegerOperator,
    output: ValueId,
) -> Result<String> {
    let own = name(graph, output);
    let Some(scale) = graph.input(id, operator.output.0) else { return Ok(own) };
    let written = graph.unique_name(&format!("{own}__float"));
    let zero_point = match graph.input(id, operator.output.1) {
        Some(zero_point) => name(graph, zero_point),
        None => zero_of(graph, patch, output)?,
    };
    let label = format!("{own}__quantize");
    let quantize = node("QuantizeLinear", &label, [written.clone(), name(graph, scale), zero_point], [own]);
    patch.add_node(quantize, vec![graph.value(output).ty.clone()]);
    Ok(written)
}

/// A zero-point of zero in the type of `value`.
fn zero_of(graph: &mut Graph, patch: &mut Patch, value: ValueId) -> Result<String> {
    let element = graph.value(value).ty.as_ref().and_then(ValueType::element);
    let zero = match element {
        Some(ElementType::Int8) => Tensor::from_vec(vec![], vec![0i8]),
        _ => Tensor::from_vec(vec![], vec![0u8]),
    };
    let own = graph.unique_name(&format!("{}__zero_point", graph.value(value).name));
    patch.add_initializer(zero.map_err(Error::pass("convert-quantization"))?.to_proto(&own));
    Ok(own)
}

/// An operator that moves quantized data, between a pair with the parameters of that data.
pub(super) fn surround(graph: &mut Graph, id: NodeId) -> Result<Patch> {
    let found = moved_parameters(graph, id);
    let found = found.ok_or_else(|| stuck(graph, id, "the scale of what it moves is not known"))?;
    let mut patch = Patch::new(format!("surround `{}`", crate::precision::node_label(graph, id)));
    let linear = add_parameters(graph, &mut patch, id, &found)?;
    let mut plain = graph.node(id).clone();
    for slot in 0..moved_inputs(graph, id) {
        let Some(value) = graph.input(id, slot) else { continue };
        let inputs = std::iter::once(name(graph, value)).chain(linear.clone()).collect();
        plain.input[slot] = dequantize(graph, &mut patch, value, inputs, &found, 0);
    }
    let mut types = Vec::new();
    for slot in 0..graph.outputs(id).len() {
        let Some(output) = graph.output(id, slot) else {
            types.push(None);
            continue;
        };
        let own = name(graph, output);
        let written = graph.unique_name(&format!("{own}__float"));
        let inputs = std::iter::once(written.clone()).chain(linear.clone());
        let label = format!("{own}__quantize");
        patch.add_node(node("QuantizeLinear", &label, inputs, [own]), vec![graph.value(output).ty.clone()]);
        plain.output[slot] = written;
        types.push(with_element(graph, output, found.scale_element));
    }
    patch.remove_node(id);
    patch.add_node(plain, types);
    Ok(patch)
}

fn add_parameters(graph: &mut Graph, patch: &mut Patch, id: NodeId, found: &LinearParameters) -> Result<[String; 2]> {
    let stem = crate::precision::node_label(graph, id);
    let names = [graph.unique_name(&format!("{stem}__scale")), graph.unique_name(&format!("{stem}__zero_point"))];
    let (scale, zero_point) = found.at(0);
    let zero_point = match found.element {
        ElementType::Int8 => Tensor::from_vec(vec![], vec![zero_point as i8]),
        _ => Tensor::from_vec(vec![], vec![zero_point as u8]),
    };
    for (tensor, name) in [store(vec![], vec![scale], found.scale_element), zero_point].into_iter().zip(&names) {
        patch.add_initializer(tensor.map_err(Error::pass("convert-quantization"))?.to_proto(name));
    }
    Ok(names)
}
