//! Stored tensors behind a `DequantizeLinear`: weights become symmetric int8, biases and other constants floating point.

use super::{add_symmetric, name, representable, store, stuck, with_element};
use crate::quantization::existing::{Verdict, verdict};
use crate::quantization::{LinearParameters, MOVES, is_quantize, is_stored, linear_parameters, weight_axis};
use crate::{Error, Result};
use trtforge_graph::construct::node;
use trtforge_graph::{ElementType, Graph, NodeId, Patch, Tensor, ValueId};

pub(super) fn convert(graph: &mut Graph, dequantize: NodeId) -> Result<Option<Patch>> {
    let Some((values, shape, found)) = real_values(graph, dequantize)? else { return Ok(None) };
    let Some(output) = graph.output(dequantize, 0) else { return Ok(None) };
    if !matches!(verdict(graph, dequantize), Verdict::Convert(_)) {
        return Ok(None);
    }
    let own = name(graph, output);
    let mut patch = Patch::new(format!("convert stored `{own}`"));
    patch.remove_node(dequantize);
    let axis = weight_axis(graph, output);
    if axis.is_none() && !is_moved(graph, output) || found.limits().is_none() {
        let tensor = store(shape, values, found.scale_element).map_err(Error::pass("convert-quantization"))?;
        let constant = node("Constant", graph.node(dequantize).name(), [""; 0], [own]);
        patch.add_node(
            constant.attr_tensor("value", tensor.to_proto("")),
            vec![with_element(graph, output, found.scale_element)],
        );
        return Ok(Some(patch));
    }
    let groups = Groups::of(&shape, axis);
    let scales = groups.scales(&values, found.scale_element);
    let steps: Vec<i8> =
        values.iter().enumerate().map(|(index, value)| step(*value, scales[groups.group(index)])).collect();
    let tensor = Tensor::from_vec(shape, steps).map_err(Error::pass("convert-quantization"))?;
    let stored = graph.unique_name(&format!("{own}__int8"));
    patch.add_initializer(tensor.to_proto(&stored));
    let [scale, zero_point] = add_symmetric(graph, &mut patch, &own, &scales, found.scale_element)?;
    let mut added = node("DequantizeLinear", graph.node(dequantize).name(), [&stored, &scale, &zero_point], [&own]);
    if let Some(axis) = axis.filter(|_| scales.len() > 1) {
        added = added.attr_int("axis", axis as i64);
    }
    patch.add_node(added, vec![with_element(graph, output, found.scale_element)]);
    Ok(Some(patch))
}

/// Whether something that only moves data reads the tensor: it may be a weight on its way.
fn is_moved(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).consumers.iter().any(|reader| MOVES.contains(&graph.op_type(reader.node)))
}

fn step(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

type Stored = (Vec<f32>, Vec<u64>, LinearParameters);

/// The numbers that a `DequantizeLinear` makes of a stored tensor, which may lie behind a `QuantizeLinear`; `None` where it reads something else.
fn real_values(graph: &Graph, dequantize: NodeId) -> Result<Option<Stored>> {
    let found = linear_parameters(graph, dequantize).map_err(|why| stuck(graph, dequantize, &why.to_string()))?;
    let Some(input) = graph.input(dequantize, 0) else { return Ok(None) };
    let quantize = graph.producer(input).filter(|&node| is_quantize(graph, node));
    let source = quantize.and_then(|node| graph.input(node, 0)).unwrap_or(input);
    if !is_stored(graph, source) {
        return Ok(None);
    }
    let tensor = graph.constant(source).ok_or_else(|| stuck(graph, dequantize, "its constant cannot be read"))?;
    let axis = if found.axis < 0 { found.axis + tensor.shape.len() as i64 } else { found.axis };
    let groups = Groups::of(&tensor.shape, usize::try_from(axis).ok().filter(|_| !found.is_per_tensor()));
    if found.block_size != 0 || (!found.is_per_tensor() && groups.count != found.scale.len()) {
        return Err(stuck(graph, dequantize, "its scales do not fit its axis"));
    }
    let limits = found.limits();
    let real = |(index, stored): (usize, f32)| {
        let (scale, zero_point) = found.at(groups.group(index));
        let steps = match (quantize, limits) {
            (Some(_), Some((least, most))) => {
                ((stored / scale).round_ties_even() + zero_point as f32).clamp(least as f32, most as f32)
            }
            _ => stored,
        };
        ((f64::from(steps) - zero_point as f64) * f64::from(scale)) as f32
    };
    let stored = tensor.to_vec_f32().map_err(Error::pass("convert-quantization"))?;
    let values = stored.into_iter().enumerate().map(real).collect();
    Ok(Some((values, tensor.shape, found)))
}

/// Which elements of a tensor share a scale: those with one index along an axis, or all.
struct Groups {
    /// Elements behind one index of the axis.
    inner: usize,
    count: usize,
}

impl Groups {
    fn of(shape: &[u64], axis: Option<usize>) -> Self {
        match axis.filter(|&axis| axis < shape.len()) {
            None => Groups { inner: usize::MAX, count: 1 },
            Some(axis) => {
                Groups { inner: shape[axis + 1..].iter().product::<u64>() as usize, count: shape[axis] as usize }
            }
        }
    }

    fn group(&self, index: usize) -> usize {
        (index / self.inner.max(1)) % self.count.max(1)
    }

    /// `amax / 127` of each group; a group of zeros takes the largest scale of all, so that it is positive.
    fn scales(&self, values: &[f32], element: ElementType) -> Vec<f32> {
        let mut amax = vec![0f32; self.count];
        for (index, value) in values.iter().enumerate() {
            let group = self.group(index);
            amax[group] = amax[group].max(value.abs());
        }
        let largest = amax.iter().copied().fold(0.0, f32::max);
        let dead = if largest > 0.0 { largest } else { 1.0 };
        amax.into_iter().map(|amax| representable(if amax > 0.0 { amax } else { dead } / 127.0, element)).collect()
    }
}
