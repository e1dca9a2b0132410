//! Makes 32-bit model inputs and outputs half precision, where the user asks for it.
//!
//! Pattern: a model input whose only readers are casts to half, or a model output that a cast from half writes. Result: the input or output itself is half and the
//! cast is gone. Numerical effect: the caller hands in, and gets, half-precision data.

use super::Pass;
use crate::Result;
use trtforge_graph::{ElementType, Graph, Patch, Producer, TensorType, ValueId, ValueType};

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
    let mut patch = Patch::new(&format!("input `{}` becomes half", value.name));
    patch.retype(value.name.as_str(), half_of(graph, input)?);
    Some(patch)
}

fn narrow_output(graph: &Graph, output: ValueId) -> Option<Patch> {
    let value = graph.value(output);
    let Producer::Node { node: cast, .. } = value.producer else { return None };
    let source = graph.inputs(cast).first().copied().flatten()?;
    if graph.op_type(cast) != "Cast"
        || !is(graph, output, ElementType::Float32)
        || !is(graph, source, ElementType::Float16)
    {
        return None;
    }
    let Producer::Node { node, slot } = graph.value(source).producer else { return None };
    if graph.value(source).consumers.len() > 1 || !value.consumers.is_empty() {
        return None;
    }
    let mut patch = Patch::new(&format!("output `{}` becomes half", value.name));
    patch.remove_node(cast);
    patch.rename_output(node, slot, &value.name);
    patch.retype(value.name.as_str(), half_of(graph, output)?);
    Some(patch)
}
