//! Type and shape of every value of a graph, from ONNX Runtime.
//!
//! ONNX Runtime infers them while it opens a model, but writes them into a saved model only for values that the model
//! lists, and only if it had to look at the graph a second time. So the staged copy lists every value by name, and calls
//! a function of its own, which ONNX Runtime has to expand. Optimization is off, so every node is still there; the
//! weights' data is left out, since only types matter.

use std::collections::HashMap;

use trtforge_graph::construct::{node, opset_import, scalar, tensor_value};
use trtforge_graph::proto::{FunctionProto, ModelProto, ValueInfoProto};
use trtforge_graph::{ElementType, Model, ValueType};

use crate::OnnxRuntime;
use crate::error::{Error, Result};
use crate::half_types::restore_half_types;
use crate::log::Log;
use crate::session::{Optimization, SessionConfig, commit};
use crate::staging::{Contents, Staged, ask_for_types, settle_initializers};

/// Types of values, by name.
pub type Types = HashMap<String, ValueType>;

/// Domain of the function that makes ONNX Runtime look twice, and prefix of the values around it.
const PROBE: &str = "trtforge.probe";

impl OnnxRuntime {
    /// Type and shape of every value of `model`'s main graph: inputs, weights and everything that a node makes. Open
    /// dimensions keep their symbols. A value that ONNX Runtime can tell nothing of is left out.
    ///
    /// Shapes that hang on constants are best inferred from a model that went through [`OnnxRuntime::optimize`].
    ///
    /// # Errors
    /// As for [`OnnxRuntime::session`].
    pub fn infer_types(&self, model: &Model) -> Result<Types> {
        self.types_of(model).map_err(|error| error.located(&model.proto().graph))
    }

    fn types_of(&self, model: &Model) -> Result<Types> {
        let mut proto = model.proto().clone();
        settle_initializers(&mut proto);
        ask_for_types(proto.graph.mut_or_insert_default());
        add_probe(&mut proto, model.opset("").unwrap_or(1));
        let staged = Staged::new(proto, Contents::Hole)?;
        let config = SessionConfig { optimization: Optimization::Disabled, threads: 1, ..SessionConfig::default() };
        let builder =
            self.builder(&config, &staged, &Log::default())?.with_optimized_model_path(staged.saved_path())?;
        drop(commit(builder, &staged)?);
        let mut types = types_of(model, &staged.saved()?);
        restore_half_types(model, &mut types);
        Ok(types)
    }
}

impl From<ort::Error> for Error {
    fn from(error: ort::Error) -> Self {
        Error::rejected(error.message())
    }
}

impl From<ort::Error<ort::session::builder::SessionBuilder>> for Error {
    fn from(error: ort::Error<ort::session::builder::SessionBuilder>) -> Self {
        Error::rejected(error.message())
    }
}

/// Adds a call of a function that passes a constant through, and its result as an output.
fn add_probe(proto: &mut ModelProto, opset: i64) {
    let (from, to) = (format!("{PROBE}.in"), format!("{PROBE}.out"));
    proto.functions.push(FunctionProto {
        name: Some("pass".into()),
        domain: Some(PROBE.into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![node("Identity", "", ["a"], ["b"])],
        opset_import: vec![opset_import("", opset)],
        ..Default::default()
    });
    proto.opset_import.push(opset_import(PROBE, 1));
    let graph = proto.graph.mut_or_insert_default();
    graph.initializer.push(scalar(&from, 0.0f32));
    graph.node.push(node("pass", PROBE, [from.as_str()], [to.as_str()]).in_domain(PROBE));
    graph.output.push(tensor_value(&to, ElementType::Float32, []));
}

/// The types that `saved` records, and those of the weights of `model`.
fn types_of(model: &Model, saved: &ModelProto) -> Types {
    let mut types = Types::new();
    for tensor in &model.proto().graph.initializer {
        let shape = tensor.dims.iter().map(|&size| u64::try_from(size).unwrap_or(0));
        let ty = trtforge_graph::TensorType::fixed(ElementType::from_onnx(tensor.data_type()), shape);
        types.insert(tensor.name().to_owned(), ty.into());
    }
    let graph = &saved.graph;
    let values = graph.input.iter().chain(&graph.value_info).chain(&graph.output);
    types.extend(values.filter(|value| !value.name().starts_with(PROBE)).filter_map(named_type));
    types
}

fn named_type(value: &ValueInfoProto) -> Option<(String, ValueType)> {
    Some((value.name().to_owned(), ValueType::from_proto(value.type_.as_ref()?)?))
}
