//! Models made in code for the tests.
#![allow(dead_code)]

use trtforge_graph::construct::{graph_attribute, model, node, scalar, tensor, tensor_value};
use trtforge_graph::proto::{GraphProto, ModelProto, NodeProto, SparseTensorProto};
use trtforge_graph::{ElementType, Model};

pub const F32: ElementType = ElementType::Float32;
pub const F16: ElementType = ElementType::Float16;

/// `y = relu(conv(x, w, b))`, `z = y + y`.
pub fn convolution() -> Model {
    let nodes = vec![
        node("Conv", "conv", ["x", "w", "b"], ["c"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Relu", "relu", ["c"], ["y"]),
        node("Add", "add", ["y", "y"], ["z"]),
    ];
    let mut graph = graph(nodes);
    graph.input = vec![tensor_value("x", F32, [1, 3, 8, 8])];
    graph.output = vec![tensor_value("z", F32, [1, 4, 8, 8])];
    graph.initializer = vec![
        tensor("w", [4, 3, 3, 3], (0..108).map(|i| i as f32).collect::<Vec<_>>()),
        tensor("b", [4], vec![0.0f32; 4]),
    ];
    graph.value_info = vec![tensor_value("c", F32, [1, 4, 8, 8]), tensor_value("y", F32, [1, 4, 8, 8])];
    Model::from_proto(model(graph, 8, 17))
}

/// A condition whose branches read `a` and `b` from outside; the second hides `a` behind a value of its own.
pub fn branches() -> Model {
    let mut first = graph(vec![node("Add", "inner_add", ["a", "b"], ["t"])]);
    first.output = vec![tensor_value("t", F32, [2])];
    let mut second = graph(vec![node("Neg", "inner_neg", ["b"], ["a"]), node("Abs", "inner_abs", ["a"], ["e"])]);
    second.output = vec![tensor_value("e", F32, [2])];
    let choice = node("If", "choice", ["condition"], ["r"])
        .attr(graph_attribute("then_branch", first))
        .attr(graph_attribute("else_branch", second));
    let mut graph = graph(vec![node("Exp", "make_a", ["x"], ["a"]), node("Sqrt", "make_b", ["x"], ["b"]), choice]);
    graph.input = vec![tensor_value("x", F32, [2]), tensor_value("condition", ElementType::Bool, [])];
    graph.output = vec![tensor_value("r", F32, [2])];
    graph.value_info = vec![tensor_value("a", F32, [2]), tensor_value("b", F32, [2])];
    Model::from_proto(model(graph, 8, 17))
}

/// A model that uses every place in which a model can store something.
pub fn everything() -> ModelProto {
    let mut proto = branches().into_proto();
    let graph = proto.graph.as_mut().expect("it has a graph");
    graph.node.push(node("Constant", "strings", [""; 0], ["s"]).attr_strings("value_strings", &["a", "ü"]));
    graph.node.push(node("Constant", "values", [""; 0], ["v"]).attr_tensor("value", scalar("inner", 7i64)));
    graph.node[0].doc_string = Some("a comment".into());
    let mut text = tensor("text", [2], Vec::<u8>::new());
    text.data_type = Some(ElementType::String.to_onnx());
    text.raw_data = None;
    text.string_data = vec!["eins".into(), "zwei".into()];
    let mut halves = tensor("halves", [2], Vec::<f32>::new());
    halves.data_type = Some(F16.to_onnx());
    halves.raw_data = None;
    halves.int32_data = vec![0x3c00, 0xc000];
    graph.initializer.extend([text, halves, tensor("empty", [0, 4], Vec::<f32>::new())]);
    graph.sparse_initializer.push(SparseTensorProto {
        values: Some(tensor("sparse", [1], vec![5.0f32])).into(),
        indices: Some(tensor("", [1], vec![2i64])).into(),
        dims: vec![4],
        ..Default::default()
    });
    proto.metadata_props.push(trtforge_graph::construct::entry("names", "{0: 'cat'}"));
    proto.functions.push(trtforge_graph::proto::FunctionProto {
        name: Some("twice".into()),
        domain: Some("local".into()),
        input: vec!["p".into()],
        output: vec!["q".into()],
        node: vec![node("Add", "", ["p", "p"], ["q"])],
        opset_import: proto.opset_import.clone(),
        ..Default::default()
    });
    proto.opset_import.push(trtforge_graph::construct::opset_import("local", 1));
    proto.special_fields.mut_unknown_fields().add_length_delimited(900, vec![1, 2, 3]);
    proto.special_fields.mut_unknown_fields().add_varint(901, 42);
    proto
}

pub fn graph(node: Vec<NodeProto>) -> GraphProto {
    GraphProto { name: Some("g".into()), node, ..Default::default() }
}

/// A chain of `length` element-wise nodes.
pub fn chain(length: usize) -> Model {
    let name = |index: usize| if index == length { "out".to_owned() } else { format!("v{index}") };
    let nodes = (0..length).map(|i| node("Relu", &format!("n{i}"), [name(i)], [name(i + 1)])).collect();
    let mut graph = graph(nodes);
    graph.input = vec![tensor_value("v0", F32, [4])];
    graph.output = vec![tensor_value("out", F32, [4])];
    graph.value_info = (1..length).map(|i| tensor_value(&name(i), F32, [4])).collect();
    Model::from_proto(model(graph, 8, 17))
}
