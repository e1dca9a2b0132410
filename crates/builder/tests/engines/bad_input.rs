//! Models that cannot become engines: a typed error each, and nothing written.

use crate::{libraries, run};
use trtforge_builder::{BuildOptions, Error, Precision, PrepareOptions};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Model, construct};

fn one_node(op: &str, domain: &str, opset: i64) -> Model {
    let mut graph = GraphProto::new();
    graph.set_name("bad".into());
    graph.input.push(construct::tensor_value("x", ElementType::Float32, [4]));
    graph.output.push(construct::tensor_value("y", ElementType::Float32, [4]));
    graph.node.push(construct::node(op, "the_node", ["x"], ["y"]).in_domain(domain));
    let mut model = construct::model(graph, 10, opset);
    if !domain.is_empty() {
        model.opset_import.push(construct::opset_import(domain, 1));
    }
    Model::from_proto(model)
}

fn failure(model: &[u8]) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model).unwrap();
    let error = run(&BuildOptions::new(PrepareOptions::new(&path, Precision::Fp16), folder.path().join("a.engine")))
        .unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{error} left something behind");
    error
}

fn of_model(model: &Model) -> Error {
    failure(&model.to_bytes().unwrap())
}

fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[test]
fn files_that_are_no_models() {
    if !libraries() {
        return;
    }
    let whole = one_node("Relu", "", 17).to_bytes().unwrap();
    for bytes in [&b""[..], b"not a model at all", &[0xff; 100], &whole[..whole.len() / 2]] {
        assert!(matches!(failure(bytes), Error::Model { .. }));
    }
}

#[test]
fn an_unknown_operator_is_named() {
    if !libraries() {
        return;
    }
    let text = full_text(&of_model(&one_node("Frobnicate", "", 17)));
    assert!(text.contains("Frobnicate"), "{text}");
}

#[test]
fn an_operator_of_a_missing_plugin_is_named() {
    if !libraries() {
        return;
    }
    let text = full_text(&of_model(&one_node("Frobnicate", "TRT", 17)));
    assert!(text.contains("Frobnicate") && text.contains("the_node"), "{text}");
}

#[test]
fn an_operator_set_from_the_future_is_refused() {
    if !libraries() {
        return;
    }
    let text = full_text(&of_model(&one_node("Relu", "", 99)));
    assert!(text.contains("99"), "{text}");
}

#[test]
fn a_missing_model_is_named() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let options =
        BuildOptions::new(PrepareOptions::new("no/such/model.onnx", Precision::Fp32), folder.path().join("a.engine"));
    let text = full_text(&run(&options).unwrap_err());
    assert!(text.contains("no/such/model.onnx"), "{text}");
}
