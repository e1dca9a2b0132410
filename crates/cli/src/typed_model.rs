//! A model whose values have types: from the file itself, or completed by ONNX Runtime where the file lacks them.
//!
//! Inspecting must work without ONNX Runtime, and on models it refuses: types are left unknown there. Planning cannot
//! do without.

use crate::args::shape::ShapeArgs;
use anyhow::Result;
use serde::Serialize;
use trtforge_builder::passes::{self, ResolvedShapes};
use trtforge_builder::{Progress, ShapeRequest};
use trtforge_graph::{Graph, Model, ValueId, ValueType};
use trtforge_onnxruntime::OnnxRuntime;

/// Where the types of inner values come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypeSource {
    /// The model file names them all.
    Model,
    /// ONNX Runtime inferred them.
    OnnxRuntime,
    /// Some are in the file, and there was nobody to infer the rest.
    #[default]
    Incomplete,
}

/// A model's graph with as many types as can be had.
pub struct Typed {
    /// The graph as the file has it.
    pub graph: Graph,
    /// Where its types come from.
    pub source: TypeSource,
    /// The same graph with open batch dimensions at 1, where that settles the shape of every input.
    pub at_batch_one: Option<Graph>,
}

/// Reads a model's graph, with as many types as can be had.
///
/// # Errors
/// When the model is not sound.
pub fn read(model: Model) -> Result<Typed> {
    let mut graph = Graph::new(model.clone())?;
    let closed = graph.graph_inputs().iter().all(|input| is_closed(&graph, *input));
    if closed && graph.value_ids().all(|value| graph.value(value).ty.is_some()) {
        return Ok(Typed { graph, source: TypeSource::Model, at_batch_one: None });
    }
    let Ok(runtime) = OnnxRuntime::load() else {
        return Ok(Typed { graph, source: TypeSource::Incomplete, at_batch_one: None });
    };
    let Ok(types) = runtime.infer_types(&model) else {
        return Ok(Typed { graph, source: TypeSource::Incomplete, at_batch_one: None });
    };
    graph.set_types(types);
    let at_batch_one = if closed { None } else { at_batch_one(&runtime, model) };
    Ok(Typed { graph, source: TypeSource::OnnxRuntime, at_batch_one })
}

fn is_closed(graph: &Graph, input: ValueId) -> bool {
    let ty = graph.value(input).ty.as_ref().and_then(ValueType::tensor);
    ty.is_none_or(|ty| ty.fixed_shape().is_some())
}

fn at_batch_one(runtime: &OnnxRuntime, mut model: Model) -> Option<Graph> {
    let shapes = passes::resolve_shapes(&model, &ShapeRequest::default(), None).ok()?;
    passes::freeze_shapes(&mut model, &shapes);
    let types = runtime.infer_types(&model).ok()?;
    let mut graph = Graph::new(model).ok()?;
    graph.set_types(types);
    Some(graph)
}

/// Reads a model with every shape settled, at the largest shapes asked for, and simplified as a build would.
///
/// # Errors
/// When the shapes do not fit the model or leave a dimension open, or ONNX Runtime is missing or refuses the model.
pub fn read_at_largest_shapes(model: Model, shapes: &ShapeArgs, progress: &dyn Progress) -> Result<Graph> {
    let resolved = passes::resolve_shapes(&model, &shapes.request()?, shapes.batch.map(u64::from))?;
    resolved.notes.iter().for_each(|note| progress.note(note));
    at_largest_shapes(model, &resolved)
}

/// A model at the largest of the shapes that are settled for it, simplified as a build would.
///
/// # Errors
/// When ONNX Runtime is missing or refuses the model.
pub fn at_largest_shapes(mut model: Model, shapes: &ResolvedShapes) -> Result<Graph> {
    passes::freeze_shapes(&mut model, &shapes.largest());
    let runtime = OnnxRuntime::load()?;
    let model = runtime.optimize(&model)?;
    let types = runtime.infer_types(&model)?;
    let mut graph = Graph::new(model)?;
    graph.set_types(types);
    Ok(graph)
}
