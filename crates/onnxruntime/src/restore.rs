//! Puts a model that ONNX Runtime saved back into the form of the model it came from.
//!
//! ONNX Runtime writes what it needs: default attributes spelled out, weights in the order of a hash table, every domain
//! it knows imported, no documentation of nodes. Here everything that did not change is taken from the original, weights
//! included, and what did change is put into an order of its own, so that equal models give equal results. The graph's
//! meaning is ONNX Runtime's alone: nothing here may change what is computed.

use std::collections::{HashMap, HashSet};

use trtforge_graph::Tensor;
use trtforge_graph::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::error::{Error, Result};
use crate::optimize::remove_probe;
use crate::order::restore_order;
use crate::staging::{Staged, settle_initializers};

/// Makes `model`, the original, what `saved` says.
pub(crate) fn restore(model: &mut ModelProto, mut saved: ModelProto, staged: &Staged) -> Result<()> {
    settle_initializers(model);
    remove_probe(&mut saved);
    let Some(saved_graph) = saved.graph.as_mut() else { return Ok(()) };
    let graph = model.graph.mut_or_insert_default();
    let nodes = restore_nodes(&graph.node, std::mem::take(&mut saved_graph.node));
    let weights = restore_weights(&graph.initializer, std::mem::take(&mut saved_graph.initializer), &nodes, staged);
    restore_types(graph, saved_graph, &nodes);
    graph.sparse_initializer = std::mem::take(&mut saved_graph.sparse_initializer);
    graph.node = nodes;
    graph.initializer = weights;
    retain_annotations(graph);
    retain_functions(model);
    check_domains(model)
}

fn restore_nodes(original: &[NodeProto], saved: Vec<NodeProto>) -> Vec<NodeProto> {
    let by_output: HashMap<&str, &NodeProto> =
        original.iter().filter_map(|node| Some((first_output(node)?, node))).collect();
    let by_name: HashMap<&str, &NodeProto> = original.iter().map(|node| (node.name(), node)).collect();
    let mut names: HashSet<String> = saved.iter().map(|node| node.name().to_owned()).collect();
    let restored = saved.into_iter().map(|node| {
        let named = by_name.get(node.name()).filter(|_| !node.name().is_empty());
        let candidate = first_output(&node).and_then(|output| by_output.get(output)).or(named);
        let mut node = match candidate.filter(|candidate| same_operator(candidate, &node)) {
            Some(candidate) => restore_node(candidate, node),
            None => node,
        };
        if node.name().is_empty() && candidate.is_none_or(|candidate| !candidate.name().is_empty()) {
            node.name = Some(free_name(&mut names, &node));
        }
        node
    });
    restore_order(original, restored.collect())
}

fn first_output(node: &NodeProto) -> Option<&str> {
    node.output.iter().map(String::as_str).find(|name| !name.is_empty())
}

fn same_operator(a: &NodeProto, b: &NodeProto) -> bool {
    a.op_type() == b.op_type() && domain(a.domain()) == domain(b.domain())
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

/// `saved` with everything of `original` that it still has.
fn restore_node(original: &NodeProto, saved: NodeProto) -> NodeProto {
    let (inputs, outputs) = (kept_names(&original.input, saved.input), kept_names(&original.output, saved.output));
    let attributes = restore_attributes(original.op_type(), &original.attribute, saved.attribute);
    NodeProto { input: inputs, output: outputs, attribute: attributes, ..original.clone() }
}

/// `saved`, or `original` where they differ only in empty names at the end.
fn kept_names(original: &[String], saved: Vec<String>) -> Vec<String> {
    let trimmed = |names: &[String]| names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let same = original[..trimmed(original)] == saved[..trimmed(&saved)];
    if same { original.to_vec() } else { saved }
}

fn restore_attributes(operator: &str, original: &[AttributeProto], saved: Vec<AttributeProto>) -> Vec<AttributeProto> {
    let known: HashSet<&str> = original.iter().map(|attribute| attribute.name()).collect();
    let (mut kept, mut added): (Vec<_>, Vec<_>) =
        saved.into_iter().partition(|attribute| known.contains(attribute.name()));
    kept.sort_by_key(|kept| original.iter().position(|attribute| attribute.name() == kept.name()));
    added.retain(|attribute| !is_spelled_out_default(operator, attribute));
    added.sort_by(|a, b| a.name().cmp(b.name()));
    kept.extend(added);
    for attribute in &mut kept {
        let source = original.iter().find(|original| original.name() == attribute.name());
        attribute.doc_string = source.and_then(|source| source.doc_string.clone());
    }
    kept
}

/// Whether `attribute` of an `operator` says what its absence says too. Only attributes whose default never changed
/// between versions are listed; others that ONNX Runtime spells out stay spelled out.
fn is_spelled_out_default(operator: &str, attribute: &AttributeProto) -> bool {
    let number = |value: i64| attribute.i == Some(value);
    let real = |value: f32| attribute.f == Some(value);
    let text = |value: &str| attribute.s.as_deref() == Some(value.as_bytes());
    match (attribute.name(), operator) {
        ("auto_pad", _) => text("NOTSET"),
        ("keep_aspect_ratio_policy", _) => text("stretch"),
        ("mode", "Pad") => text("constant"),
        ("mode", "DepthToSpace") => text("DCR"),
        ("mode", "Resize") => text("nearest"),
        ("nearest_mode", "Resize") => text("round_prefer_floor"),
        ("coordinate_transformation_mode", "Resize") => text("half_pixel"),
        ("storage_order" | "count_include_pad" | "ceil_mode" | "exclude_outside" | "training_mode", _) => number(0),
        ("allowzero" | "noop_with_empty_axes" | "antialias" | "output_dtype" | "block_size", _) => number(0),
        ("transA" | "transB", "Gemm") | ("axis", "Gather" | "GatherElements") | ("batch_dims", _) => number(0),
        ("saturate" | "keepdims" | "largest" | "sorted" | "stash_type", _) => number(1),
        ("group", "Conv" | "ConvTranspose") => number(1),
        ("axis", "QuantizeLinear" | "DequantizeLinear" | "Flatten") => number(1),
        ("extrapolation_value", _) => real(0.0),
        ("cubic_coeff_a", _) => real(-0.75),
        ("epsilon", "BatchNormalization" | "InstanceNormalization" | "LayerNormalization") => real(1e-5),
        ("momentum", "BatchNormalization") => real(0.9),
        ("alpha" | "beta", "Gemm") | ("alpha", "Elu") => real(1.0),
        ("alpha", "LeakyRelu") => real(0.01),
        ("alpha", "HardSigmoid") => real(0.2),
        ("beta", "HardSigmoid") => real(0.5),
        _ => false,
    }
}

fn free_name(taken: &mut HashSet<String>, node: &NodeProto) -> String {
    let stem = format!("{}/{}", first_output(node).unwrap_or("node"), node.op_type());
    let mut name = stem.clone();
    let mut count = 1;
    while !taken.insert(name.clone()) {
        count += 1;
        name = format!("{stem}_{count}");
    }
    name
}

/// The weights of `saved`, taken from `original` where they are the same, first those and then new ones as used.
fn restore_weights(
    original: &[TensorProto],
    saved: Vec<TensorProto>,
    nodes: &[NodeProto],
    staged: &Staged,
) -> Vec<TensorProto> {
    let index: HashMap<&str, usize> = original.iter().enumerate().map(|(at, tensor)| (tensor.name(), at)).collect();
    let mut kept = Vec::new();
    let mut new = HashMap::new();
    for tensor in saved {
        let same_name = index.get(tensor.name()).copied();
        match staged.placed(&tensor).filter(|at| original[*at].name() == tensor.name()).or(same_name) {
            Some(at) if is_same(&original[at], &tensor, staged) => kept.push(at),
            _ => drop(new.insert(tensor.name().to_owned(), tensor)),
        }
    }
    kept.sort_unstable();
    kept.dedup();
    let mut weights: Vec<TensorProto> = kept.into_iter().map(|at| original[at].clone()).collect();
    let used = nodes.iter().flat_map(|node| &node.input).filter_map(|name| new.remove(name));
    weights.extend(used.collect::<Vec<_>>());
    let mut unused: Vec<TensorProto> = new.into_values().collect();
    unused.sort_by(|a, b| a.name().cmp(b.name()));
    weights.extend(unused);
    weights
}

/// Whether `saved` holds what `original` holds.
fn is_same(original: &TensorProto, saved: &TensorProto, staged: &Staged) -> bool {
    let equal = || matches!((Tensor::from_proto(original), Tensor::from_proto(saved)), (Ok(a), Ok(b)) if a == b);
    staged.placed(saved).is_some() || equal()
}

/// Inputs stay as they are; outputs get a type where they had none; values in between get those that `saved` has.
fn restore_types(graph: &mut GraphProto, saved: &mut GraphProto, nodes: &[NodeProto]) {
    let outputs: HashMap<&str, &ValueInfoProto> = saved.output.iter().map(|value| (value.name(), value)).collect();
    for output in &mut graph.output {
        let inferred = outputs.get(output.name()).and_then(|value| value.type_.as_ref());
        if let Some(inferred) = inferred.filter(|_| is_vague(output)) {
            output.type_ = Some(inferred.clone()).into();
        }
    }
    let mut types: HashMap<String, ValueInfoProto> =
        saved.value_info.drain(..).map(|value| (value.name().to_owned(), value)).collect();
    let made = nodes.iter().flat_map(|node| &node.output);
    graph.value_info = made.filter_map(|name| types.remove(name)).filter(|value| value.type_.is_some()).collect();
}

/// Whether `value` lacks a type, or the shape of one.
fn is_vague(value: &ValueInfoProto) -> bool {
    let ty = value.type_.as_ref().and_then(trtforge_graph::ValueType::from_proto);
    ty.is_none_or(|ty| ty.tensor().is_some_and(|tensor| tensor.shape.is_none()))
}

fn retain_annotations(graph: &mut GraphProto) {
    let made = graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str));
    let weights = graph.initializer.iter().map(|tensor| tensor.name());
    let known: HashSet<&str> = made.chain(weights).chain(graph.input.iter().map(|input| input.name())).collect();
    let keep: Vec<bool> =
        graph.quantization_annotation.iter().map(|annotation| known.contains(annotation.tensor_name())).collect();
    let mut keep = keep.into_iter();
    graph.quantization_annotation.retain(|_| keep.next().unwrap_or(true));
}

/// Drops functions that no node calls any more, since ONNX Runtime expands them.
fn retain_functions(model: &mut ModelProto) {
    let called: HashSet<(String, String)> =
        calls(&model.graph.node).chain(model.functions.iter().flat_map(|function| calls(&function.node))).collect();
    model
        .functions
        .retain(|function| called.contains(&(domain(function.domain()).to_owned(), function.name().to_owned())));
}

fn calls(nodes: &[NodeProto]) -> impl Iterator<Item = (String, String)> {
    nodes.iter().map(|node| (domain(node.domain()).to_owned(), node.op_type().to_owned()))
}

fn check_domains(model: &ModelProto) -> Result<()> {
    let imported: HashSet<&str> = model.opset_import.iter().map(|import| domain(import.domain())).collect();
    match model.graph.node.iter().find(|node| !imported.contains(domain(node.domain()))) {
        None => Ok(()),
        Some(node) => Err(Error::NonStandard {
            node: node.name().to_owned(),
            operator: node.op_type().to_owned(),
            domain: node.domain().to_owned(),
        }),
    }
}
