//! Simplification: what goes, what stays, and that the numbers stay the same.

use std::collections::HashSet;
use std::time::Instant;

use trtforge_graph::construct::{entry, node, scalar, tensor};
use trtforge_graph::protobuf::Message as _;
use trtforge_graph::{ElementType, Model, Tensor};
use trtforge_onnxruntime::{Error, OnnxRuntime};

use crate::machine::{models, outputs, plain, relative_error, runtime};
use crate::networks::{convolutions, network};

fn operators(model: &Model) -> Vec<&str> {
    model.proto().graph.node.iter().map(|node| node.op_type()).collect()
}

fn assert_same_numbers(runtime: &OnnxRuntime, name: &str, before: &Model, after: &Model, tolerance: f32) {
    let a = outputs(&mut runtime.session(before, &plain()).unwrap());
    let b = outputs(&mut runtime.session(after, &plain()).unwrap());
    assert_eq!(a.len(), b.len());
    for ((name_a, a), (name_b, b)) in a.iter().zip(&b) {
        assert_eq!(name_a, name_b);
        let error = relative_error(a, b);
        assert!(error <= tolerance, "{name}: {name_a} differs by {error}");
    }
}

#[test]
fn every_test_model_computes_the_same_afterwards() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models() {
        let started = Instant::now();
        let simplified = runtime.optimize(&model).unwrap();
        eprintln!(
            "{name}: {} nodes -> {}, {:?}",
            operators(&model).len(),
            operators(&simplified).len(),
            started.elapsed()
        );
        assert!(operators(&simplified).len() <= operators(&model).len());
        assert_same_numbers(&runtime, &name, &model, &simplified, 1e-5);
        assert_only_standard_operators(&simplified);
        assert_everything_is_typed(&name, &simplified);
        let again = runtime.optimize(&simplified).unwrap();
        assert_eq!(operators(&again), operators(&simplified), "{name} is not at rest");
    }
}

fn assert_only_standard_operators(model: &Model) {
    let graph = &model.proto().graph;
    assert!(graph.node.iter().all(|node| node.domain().is_empty()));
    assert!(!operators(model).contains(&"SpaceToDepth"));
}

fn assert_everything_is_typed(name: &str, model: &Model) {
    let graph = &model.proto().graph;
    let typed = graph.value_info.iter().chain(&graph.output).filter(|value| value.type_.is_some());
    let typed: HashSet<&str> = typed.map(|value| value.name()).collect();
    for output in graph.node.iter().flat_map(|node| &node.output).filter(|output| !output.is_empty()) {
        assert!(typed.contains(output.as_str()), "{name}: {output} has no type");
    }
}

#[test]
fn the_result_is_the_same_every_time() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models() {
        let bytes = |model: Model| model.into_proto().write_to_bytes().unwrap();
        let first = bytes(runtime.optimize(&model).unwrap());
        assert!(first == bytes(runtime.optimize(&model).unwrap()), "{name}");
    }
}

#[test]
fn normalization_goes_into_the_convolution() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(3, 32, true);
    let simplified = runtime.optimize(&model).unwrap();
    assert_eq!(operators(&simplified), ["Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Mul"]);
    assert_same_numbers(&runtime, "convolutions", &model, &simplified, 1e-5);
}

#[test]
fn unchanged_weights_are_shared_not_copied() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(3, 64, false);
    let simplified = runtime.optimize(&model).unwrap();
    let address = |model: &Model, index: usize| {
        model.proto().graph.initializer[index].raw_data.as_ref().map(|data| data.as_ptr()).unwrap()
    };
    for index in 0..3 {
        assert_eq!(address(&model, index), address(&simplified, index));
    }
    assert_eq!(model.proto().graph.initializer, simplified.proto().graph.initializer);
}

#[test]
fn nodes_that_did_not_change_are_kept_to_the_letter() {
    let Some(runtime) = runtime() else { return };
    let mut model = convolutions(2, 16, false);
    for node in &mut model.proto_mut().graph.mut_or_insert_default().node {
        node.doc_string = Some(format!("about {}", node.name()));
        node.metadata_props.push(entry("layer", node.name()));
    }
    let simplified = runtime.optimize(&model).unwrap();
    let find = |name: &str| model.proto().graph.node.iter().find(|node| node.name() == name).unwrap().clone();
    let kept = &simplified.proto().graph.node;
    assert_eq!(kept[0], find("block0.conv"));
    let mut relu = find("block0.relu");
    relu.input[0] = "block0.a".into();
    assert_eq!(kept[1], relu);
}

#[test]
fn the_models_own_words_stay() {
    let Some(runtime) = runtime() else { return };
    let mut model = convolutions(1, 8, true);
    let proto = model.proto_mut();
    proto.producer_name = Some("exporter".into());
    proto.doc_string = Some("a model".into());
    proto.metadata_props.push(entry("classes", "cat,dog"));
    proto.graph.mut_or_insert_default().doc_string = Some("a graph".into());
    let simplified = runtime.optimize(&model).unwrap();
    let (before, after) = (model.proto(), simplified.proto());
    assert_eq!(after.producer_name, before.producer_name);
    assert_eq!(after.doc_string, before.doc_string);
    assert_eq!(after.metadata_props, before.metadata_props);
    assert_eq!(after.opset_import, before.opset_import);
    assert_eq!(after.ir_version, before.ir_version);
    assert_eq!(after.graph.doc_string, before.graph.doc_string);
    assert_eq!(after.graph.name, before.graph.name);
    assert_eq!(after.graph.input, before.graph.input);
    assert_eq!(after.graph.output, before.graph.output);
}

#[test]
fn quantized_pairs_stay() {
    let Some(runtime) = runtime() else { return };
    let pair = |input: &str, output: &str| {
        let middle = format!("{output}.q");
        let quantize =
            node("QuantizeLinear", &format!("{output}.quantize"), [input, "scale", "zero"], [middle.as_str()]);
        let back =
            node("DequantizeLinear", &format!("{output}.dequantize"), [middle.as_str(), "scale", "zero"], [output]);
        [quantize, back]
    };
    let weight: Vec<i8> = (0..27).map(|value| value - 13).collect();
    let mut nodes = pair("x", "a").to_vec();
    nodes.push(node("DequantizeLinear", "w", ["weight", "scale", "zero"], ["wf"]));
    nodes.push(node("Conv", "conv", ["a", "wf"], ["b"]));
    nodes.extend(pair("b", "c"));
    nodes.push(node("Relu", "relu", ["c"], ["y"]));
    let weights = vec![scalar("scale", 0.05f32), scalar("zero", 0i8), tensor("weight", [1, 3, 3, 3], weight)];
    let (x, y) = ((ElementType::Float32, &[1, 3, 5, 5][..]), (ElementType::Float32, &[1, 1, 3, 3][..]));
    let model = network(nodes, weights, x, y);
    let simplified = runtime.optimize(&model).unwrap();
    let left = &simplified.proto().graph.node;
    assert_eq!(left.len(), 7);
    for node in &model.proto().graph.node {
        assert!(left.contains(node), "{node:?} is not in {left:?}");
    }
    assert_eq!(simplified.proto().graph.initializer, model.proto().graph.initializer);
}

#[test]
fn half_precision_models_stay_half_precision() {
    let Some(runtime) = runtime() else { return };
    let mut model = convolutions(2, 32, true);
    let graph = model.proto_mut().graph.mut_or_insert_default();
    for weight in &mut graph.initializer {
        let dense = Tensor::from_proto(weight).unwrap();
        let halves = dense.to_vec_f32().unwrap().into_iter().map(half::f16::from_f32).collect::<Vec<_>>();
        *weight = tensor(weight.name(), dense.shape, halves);
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let ty = trtforge_graph::ValueType::from_proto(value.type_.as_ref().unwrap()).unwrap();
        let shape = ty.tensor().unwrap().shape.clone();
        let ty = trtforge_graph::TensorType { element: ElementType::Float16, shape };
        value.type_ = Some(ty.to_proto()).into();
    }
    let simplified = runtime.optimize(&model).unwrap();
    assert!(!operators(&simplified).contains(&"Cast"), "{:?}", operators(&simplified));
    let types = runtime.infer_types(&simplified).unwrap();
    for (name, ty) in &types {
        assert_eq!(ty.element(), Some(ElementType::Float16), "{name}");
    }
    for weight in &simplified.proto().graph.initializer {
        assert_eq!(ElementType::from_onnx(weight.data_type()), ElementType::Float16, "{}", weight.name());
    }
}

#[test]
fn a_constant_of_great_size_is_not_written_out() {
    let Some(runtime) = runtime() else { return };
    let big = |size: i64| {
        let shape = tensor("shape", [2], vec![size, size]);
        let nodes = vec![
            node("ConstantOfShape", "big", ["shape"], ["b"]),
            node("Add", "bigger", ["b", "one"], ["c"]),
            node("ReduceSum", "sum", ["c"], ["d"]).attr_int("keepdims", 0),
            node("Mul", "mul", ["x", "d"], ["y"]),
        ];
        let float = (ElementType::Float32, &[1][..]);
        network(nodes, vec![shape, scalar("one", 1.0f32)], float, float)
    };
    let simplified = match runtime.optimize(&big(20_000)) {
        Ok(simplified) => simplified,
        Err(Error::Growth { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    assert!(simplified.weights_bytes() < 1 << 20);
}

#[test]
fn folding_leaves_no_temporary_files() {
    let Some(runtime) = runtime() else { return };
    let count = || {
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let own = format!("trtforge-{}-", std::process::id());
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).count()
    };
    let before = count();
    runtime.optimize(&convolutions(2, 64, true)).unwrap();
    runtime.session(&convolutions(2, 64, true), &plain()).unwrap();
    runtime.optimize(&Model::from_proto(Default::default())).unwrap_err();
    assert_eq!(count(), before);
}
