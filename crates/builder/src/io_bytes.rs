//! Bytes of a model's inputs and outputs at their largest shapes: what a caller has to hold beside the engine.

use crate::passes::{ResolvedShapes, freeze_shapes};
use crate::shapes::ShapeRange;
use crate::{Error, Result};
use trtforge_graph::{Model, ValueType};
use trtforge_onnxruntime::OnnxRuntime;

/// Inputs and outputs of `model` in bytes, with every input at its `max` shape; `None` where an output's size depends on data, or its type cannot be found.
///
/// # Errors
/// [`Error::OnnxRuntime`] where the model cannot be typed at the largest shapes.
pub fn largest_io_bytes(runtime: &OnnxRuntime, model: &Model, shapes: &ResolvedShapes) -> Result<Option<u64>> {
    let at_most = |range: &ShapeRange| ShapeRange::fixed(range.max.clone());
    let largest = ResolvedShapes {
        ranges: shapes.ranges.iter().map(|(name, range)| (name.clone(), at_most(range))).collect(),
        notes: vec![],
    };
    let mut model = model.clone();
    freeze_shapes(&mut model, &largest);
    let types = match runtime.infer_types(&model) {
        Err(error) if error.is_unsupported() => return Ok(None),
        types => types.map_err(Error::from)?,
    };
    let graph = &model.proto().graph;
    let initializers = graph.initializer.iter().map(|tensor| tensor.name()).collect::<std::collections::HashSet<_>>();
    let inputs = graph.input.iter().filter(|input| !initializers.contains(input.name()));
    let bytes = |value: &str| types.get(value).and_then(ValueType::tensor).and_then(|ty| ty.bytes());
    Ok(inputs.chain(&graph.output).map(|value| bytes(value.name())).sum())
}
