//! Bytes of a model's inputs and outputs at their largest shapes: what a caller has to hold beside the engine.

use crate::passes::{ResolvedShapes, freeze_shapes};
use crate::{Error, Result};
use std::collections::HashSet;
use trtforge_graph::proto::ValueInfoProto;
use trtforge_graph::{Model, ValueType};
use trtforge_onnxruntime::OnnxRuntime;

/// Inputs and outputs of `model` in bytes, with every input at its `max` shape; `None` where an output's size depends on data, or its type cannot be found.
///
/// # Errors
/// [`Error::OnnxRuntime`] where the model cannot be typed at the largest shapes.
pub fn largest_io_bytes(runtime: &OnnxRuntime, model: &Model, shapes: &ResolvedShapes) -> Result<Option<u64>> {
    let mut model = model.clone();
    freeze_shapes(&mut model, &shapes.largest());
    if let Some(bytes) = declared_bytes(&model) {
        return Ok(Some(bytes));
    }
    let types = match runtime.infer_types(&model) {
        Err(error) if error.is_unsupported() => return Ok(None),
        types => types.map_err(Error::from)?,
    };
    let bytes = |value: &ValueInfoProto| types.get(value.name()).and_then(ValueType::tensor).and_then(|ty| ty.bytes());
    Ok(ends(&model).map(bytes).sum())
}

/// What the model itself says, where it says the size of every input and output: nothing has to be inferred then.
fn declared_bytes(model: &Model) -> Option<u64> {
    let bytes = |value: &ValueInfoProto| ValueType::from_proto(value.type_.as_ref()?)?.tensor()?.bytes();
    ends(model).map(bytes).sum()
}

/// Inputs that a caller fills, and outputs.
fn ends(model: &Model) -> impl Iterator<Item = &ValueInfoProto> {
    let graph = &model.proto().graph;
    let initializers: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let inputs = graph.input.iter().filter(move |input| !initializers.contains(input.name()));
    inputs.chain(&graph.output)
}
