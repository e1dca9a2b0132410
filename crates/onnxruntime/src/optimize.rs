//! Simplifies a model with ONNX Runtime's basic level and reads the result back.
//!
//! What it does: folds constants, merges BatchNormalization and scalings into convolutions, removes what does nothing
//! (identities, dropouts, slices of everything), merges equal sub-expressions, moves transposes where they cancel out.
//! The result has the same inputs and outputs, only standard operators, and the inferred type of every value.
//!
//! What it must never do: put in operators or layouts that are good for a CPU only, touch Q/DQ pairs of a quantized
//! model, copy weights that did not change, or give another result for the same model on another day.

use std::collections::HashSet;

use trtforge_graph::construct::{node, scalar, tensor_value, value_info};
use trtforge_graph::proto::{GraphProto, ModelProto};
use trtforge_graph::{ElementType, Model, ValueType};

use crate::OnnxRuntime;
use crate::error::{Error, Result};
use crate::half_types::cast_target;
use crate::log::Log;
use crate::restore::restore;
use crate::session::{Optimization, SessionConfig, commit};
use crate::staging::{Contents, Staged, ask_for_types, settle_initializers};

/// ONNX Runtime's rewrites that are left out: good for its own CPU code, or better left to the exporter's form, which
/// TensorRT's own fusions and this project's passes look for.
const LEFT_OUT: &[&str] = &[
    // A gather over channels and a space-to-depth, in place of strided slices that TensorRT reads as one copy.
    "SliceConcatToSpaceToDepthFusion",
    // Gemm between reshapes, in place of a MatMul over a batch.
    "MatMulAddFusion",
    // Renames scalars and ties together parts of the graph that may get different precisions.
    "ConstantSharing",
];

/// Prefix of the values added so that ONNX Runtime has something to remove, and so writes the types of all values.
pub(crate) const PROBE: &str = "trtforge.probe";
/// The least that one folded constant, or all of them together, may take.
const FOLDED_BYTES: u64 = 64 << 20;

impl OnnxRuntime {
    /// Simplifies `model`; the model itself is not changed. Tensors that did not change are shared with it.
    ///
    /// Metadata, names, documentation and the order of inputs and outputs stay. Weights that are also graph inputs lose
    /// that input. The result carries the type of every value, as far as it can be inferred, in place of those it had.
    ///
    /// A model that holds half-precision numbers comes back as it is, with types: on the CPU ONNX Runtime would turn its
    /// nodes into float and drop casts that belong to the model.
    ///
    /// # Errors
    /// As for [`OnnxRuntime::session`]; with [`Error::is_unsupported`] the model can be used as it is. Also if folding
    /// would make the model much bigger.
    pub fn optimize(&self, model: &Model) -> Result<Model> {
        let mut simplified = model.clone();
        if has_half(&model.proto().graph) {
            settle_initializers(simplified.proto_mut());
            simplified.proto_mut().graph.mut_or_insert_default().value_info.clear();
            self.complete_types(&mut simplified)?;
            return Ok(simplified);
        }
        self.simplify(&mut simplified).map_err(|error| error.located(&model.proto().graph))?;
        check_growth(model, &simplified)?;
        self.complete_types(&mut simplified)?;
        Ok(simplified)
    }

    fn simplify(&self, model: &mut Model) -> Result<()> {
        let mut proto = model.proto().clone();
        settle_initializers(&mut proto);
        ask_for_types(proto.graph.mut_or_insert_default());
        add_probe(proto.graph.mut_or_insert_default());
        let staged = Staged::new(proto, Contents::Data)?;
        self.save_simplified(&staged, folded_limit(model))?;
        restore(model.proto_mut(), staged.saved()?, &staged)
    }

    /// Gives a type to the values that simplification made up, which a second look at the model has to find.
    fn complete_types(&self, model: &mut Model) -> Result<()> {
        let missing = untyped(&model.proto().graph);
        if missing.is_empty() {
            return Ok(());
        }
        let types = self.infer_types(model)?;
        let graph = model.proto_mut().graph.mut_or_insert_default();
        let found = missing.iter().filter_map(|name| Some(value_info(name, types.get(name)?)));
        graph.value_info.extend(found.collect::<Vec<_>>());
        Ok(())
    }

    fn save_simplified(&self, staged: &Staged, folded_bytes: u64) -> Result<()> {
        let config = SessionConfig { optimization: Optimization::Basic, ..SessionConfig::default() };
        let builder = self
            .builder(&config, staged, &Log::default())?
            .with_optimized_model_path(staged.saved_path())?
            .with_disabled_optimizers(LEFT_OUT.join(";"))?
            .with_config_entry("session.disable_qdq_constant_folding", "1")?
            .with_config_entry("optimization.constant_folding_max_output_size_in_bytes", folded_bytes.to_string())?;
        drop(commit(builder, staged)?);
        Ok(())
    }
}

/// Bytes that one folded constant may take: room for any weight in another order, and for small models' tables.
fn folded_limit(model: &Model) -> u64 {
    model.weights_bytes().max(FOLDED_BYTES)
}

/// Whether `graph` takes, gives, holds or casts to half-precision numbers.
fn has_half(graph: &GraphProto) -> bool {
    let half = |element| matches!(element, ElementType::Float16 | ElementType::BFloat16);
    let ends = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    let mut types = ends.filter_map(|value| ValueType::from_proto(value.type_.as_ref()?)?.element());
    graph.initializer.iter().any(|tensor| half(ElementType::from_onnx(tensor.data_type())))
        || types.any(half)
        || graph.node.iter().filter_map(cast_target).any(|(_, element)| half(element))
}

/// Values that nodes of `graph` make and that have no type.
fn untyped(graph: &GraphProto) -> Vec<String> {
    let typed: HashSet<&str> = graph.value_info.iter().chain(&graph.output).map(|value| value.name()).collect();
    let made = graph.node.iter().flat_map(|node| &node.output);
    made.filter(|name| !name.is_empty() && !typed.contains(name.as_str())).cloned().collect()
}

fn check_growth(before: &Model, after: &Model) -> Result<()> {
    let (before_bytes, after_bytes) = (before.weights_bytes(), after.weights_bytes());
    let limit_bytes = 2 * before_bytes + FOLDED_BYTES;
    if after_bytes > limit_bytes {
        return Err(Error::Growth { before_bytes, after_bytes, limit_bytes });
    }
    Ok(())
}

/// Adds two identities over a constant, and their result as an output; the first will be removed.
fn add_probe(graph: &mut GraphProto) {
    let names = ["in", "middle", "out"].map(|end| format!("{PROBE}.{end}"));
    graph.initializer.push(scalar(&names[0], 0.0f32));
    for pair in names.windows(2) {
        graph.node.push(node("Identity", &pair[1], [pair[0].as_str()], [pair[1].as_str()]));
    }
    graph.output.push(tensor_value(&names[2], ElementType::Float32, []));
}

/// Takes out whatever became of [`add_probe`].
pub(crate) fn remove_probe(saved: &mut ModelProto) {
    let Some(graph) = saved.graph.as_mut() else { return };
    graph.node.retain(|node| !node.output.iter().any(|output| output.starts_with(PROBE)));
    graph.initializer.retain(|tensor| !tensor.name().starts_with(PROBE));
    graph.output.retain(|output| !output.name().starts_with(PROBE));
    graph.value_info.retain(|value| !value.name().starts_with(PROBE));
}
