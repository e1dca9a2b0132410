//! Makes 32-bit model inputs and outputs half precision, where the user asks for it.
//!
//! Pattern: a model input whose only readers are casts to half, or a model output that a cast from half writes. Result: the input or output itself is half and the
//! cast is gone. Numerical effect: the caller hands in, and gets, half-precision data.

use super::Pass;
use crate::Result;
use crate::precision::is_cast;
use trtforge_graph::construct::int;
use trtforge_graph::{ElementType, Graph, Patch, TensorType, ValueId, ValueType};

/// The pass.
pub struct HalfInputsOutputs;

impl Pass for HalfInputsOutputs {
    fn name(&self) -> &'static str {
        "half-inputs-outputs"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let inputs = graph.graph_inputs().iter().filter_map(|&input| narrow_input(graph, input));
        let outputs = graph.graph_outputs().iter().filter_map(|&output| narrow_output(graph, output));
        Ok(inputs.chain(outputs).collect())
    }
}

fn is(graph: &Graph, value: ValueId, element: ElementType) -> bool {
    graph.value(value).ty.as_ref().and_then(ValueType::element) == Some(element)
}

fn half_of(graph: &Graph, value: ValueId) -> Option<ValueType> {
    let shape = graph.value(value).ty.as_ref()?.tensor()?.shape.clone();
    Some(ValueType::Tensor(TensorType { element: ElementType::Float16, shape }))
}

fn narrow_input(graph: &Graph, input: ValueId) -> Option<Patch> {
    let value = graph.value(input);
    let only_casts = value.consumers.iter().all(|user| {
        let output = graph.outputs(user.node).first().copied().flatten();
        graph.op_type(user.node) == "Cast" && output.is_some_and(|output| is(graph, output, ElementType::Float16))
    });
    if !is(graph, input, ElementType::Float32) || value.consumers.is_empty() || !only_casts {
        return None;
    }
    // The casts become half to half; `cancel-casts` removes them.
    let mut patch = Patch::new(format!("input `{}` becomes half", value.name));
    patch.retype(value.name.as_str(), half_of(graph, input)?);
    Some(patch)
}

fn narrow_output(graph: &Graph, output: ValueId) -> Option<Patch> {
    let value = graph.value(output);
    let cast = graph.producer(output)?;
    let source = graph.input(cast, 0)?;
    let from_half =
        is_cast(graph, cast) && is(graph, output, ElementType::Float32) && is(graph, source, ElementType::Float16);
    if !from_half || !value.consumers.is_empty() {
        return None;
    }
    // The cast becomes half to half as well.
    let mut patch = Patch::new(format!("output `{}` becomes half", value.name));
    patch.set_attribute(cast, int("to", i64::from(ElementType::Float16.to_onnx())));
    patch.retype(value.name.as_str(), half_of(graph, output)?);
    Some(patch)
}
