//! Small models, made by the tests that use them.

use std::path::{Path, PathBuf};
use trtforge_graph::construct::{entry, model, node, open_tensor_value, scalar, tensor, tensor_value};
use trtforge_graph::proto::{GraphProto, ModelProto, TensorProto};
use trtforge_graph::{Dimension, ElementType, Model};

/// Weights that differ from each other, so that no optimiser can fold them away.
fn weights(name: &str, dims: &[u64]) -> TensorProto {
    let count: u64 = dims.iter().product();
    let values = (0..count).map(|index| ((index * 7919 % 101) as f32 - 50.0) / 500.0).collect();
    tensor::<f32>(name, dims.iter().copied(), values)
}

/// `x [N,4,8,8]` through a convolution, an activation, pooling and a matrix product to `y [N,10]`.
pub fn classifier() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("classifier".into());
    let open = |rest: &[u64]| {
        let fixed = rest.iter().map(|size| Dimension::Fixed(*size));
        std::iter::once(Dimension::Symbol("N".into())).chain(fixed).collect()
    };
    graph.input.push(open_tensor_value("x", ElementType::Float32, open(&[4, 8, 8])));
    graph.output.push(open_tensor_value("y", ElementType::Float32, open(&[10])));
    graph.initializer =
        vec![weights("conv.weight", &[4, 4, 3, 3]), weights("conv.bias", &[4]), weights("fc.weight", &[4, 10])];
    graph.node = vec![
        node("Conv", "conv", ["x", "conv.weight", "conv.bias"], ["c"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Relu", "relu", ["c"], ["r"]),
        node("GlobalAveragePool", "pool", ["r"], ["p"]),
        node("Flatten", "flatten", ["p"], ["f"]),
        node("MatMul", "fc", ["f", "fc.weight"], ["y"]),
    ];
    let mut proto = model(graph, 9, 17);
    proto.producer_name = Some("tests".into());
    proto.producer_version = Some("1".into());
    proto.metadata_props.push(entry("author", "the\ntests"));
    proto
}

/// A model of one node that adds its input to itself.
pub fn doubling(shape: &[u64]) -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("doubling".into());
    graph.input.push(tensor_value("x", ElementType::Float32, shape.iter().copied()));
    graph.output.push(tensor_value("y", ElementType::Float32, shape.iter().copied()));
    graph.node.push(node("Add", "double", ["x", "x"], ["y"]));
    model(graph, 9, 17)
}

/// The classifier's convolution in INT8, a Sigmoid that makes nothing of its quantized input, and a convolution of which only the input is quantized.
pub fn quantized() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("quantized".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 4, 8, 8]));
    graph.output.push(tensor_value("y", ElementType::Float32, [1, 4, 8, 8]));
    graph.initializer = vec![
        scalar("s", 0.02f32),
        scalar("z", 0i8),
        tensor("w.int8", [4, 4, 3, 3], vec![3i8; 144]),
        weights("v", &[4, 4, 1, 1]),
    ];
    graph.node = vec![
        node("QuantizeLinear", "x.quantize", ["x", "s", "z"], ["x.int8"]),
        node("DequantizeLinear", "x.dequantize", ["x.int8", "s", "z"], ["xq"]),
        node("DequantizeLinear", "w.dequantize", ["w.int8", "s", "z"], ["w"]),
        node("Conv", "conv", ["xq", "w"], ["c"]).attr_ints("pads", [1, 1, 1, 1]),
        node("QuantizeLinear", "c.quantize", ["c", "s", "z"], ["c.int8"]),
        node("DequantizeLinear", "c.dequantize", ["c.int8", "s", "z"], ["cq"]),
        node("Sigmoid", "sigmoid", ["cq"], ["g"]),
        node("QuantizeLinear", "g.quantize", ["g", "s", "z"], ["g.int8"]),
        node("DequantizeLinear", "g.dequantize", ["g.int8", "s", "z"], ["gq"]),
        node("Conv", "last", ["gq", "v"], ["y"]),
    ];
    model(graph, 9, 17)
}

/// Two convolutions of `x [1,4,8,8]` joined and read by a third, so that the concatenation lies between quantized tensors.
pub fn joined() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("joined".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 4, 8, 8]));
    graph.output.push(tensor_value("y", ElementType::Float32, [1, 4, 8, 8]));
    graph.initializer = vec![weights("u", &[4, 4, 1, 1]), weights("v", &[4, 4, 3, 3]), weights("w", &[4, 8, 1, 1])];
    graph.node = vec![
        node("Conv", "left", ["x", "u"], ["l"]),
        node("Relu", "left.relu", ["l"], ["lr"]),
        node("Conv", "right", ["x", "v"], ["r"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Relu", "right.relu", ["r"], ["rr"]),
        node("Concat", "join", ["lr", "rr"], ["j"]).attr_int("axis", 1),
        node("Conv", "last", ["j", "w"], ["y"]),
    ];
    model(graph, 9, 17)
}

/// Forty convolutions over a large map: seconds of work for whoever runs or compiles it.
pub fn deep() -> ModelProto {
    const LAYERS: usize = 40;
    let mut graph = GraphProto::new();
    graph.name = Some("deep".into());
    graph.input.push(tensor_value("v0", ElementType::Float32, [1, 32, 256, 256]));
    graph.output.push(tensor_value(&format!("v{LAYERS}"), ElementType::Float32, [1, 32, 256, 256]));
    for layer in 0..LAYERS {
        let name = format!("w{layer}");
        graph.initializer.push(weights(&name, &[32, 32, 3, 3]));
        let (from, to) = (format!("v{layer}"), format!("v{}", layer + 1));
        graph.node.push(node("Conv", &to, [from, name], [to.clone()]).attr_ints("pads", [1, 1, 1, 1]));
    }
    model(graph, 9, 17)
}

/// A picture whose height and width are open, through a rectifier.
pub fn open_picture() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("picture".into());
    let sizes = || ["N", "H", "W"].map(|name| Dimension::Symbol(name.into()));
    let shape = || {
        let [batch, height, width] = sizes();
        vec![batch, Dimension::Fixed(3), height, width]
    };
    graph.input.push(open_tensor_value("x", ElementType::Float32, shape()));
    graph.output.push(open_tensor_value("y", ElementType::Float32, shape()));
    graph.node.push(node("Relu", "relu", ["x"], ["y"]));
    model(graph, 9, 17)
}

/// Writes a model into a folder.
pub fn write(folder: &Path, name: &str, proto: ModelProto) -> PathBuf {
    let path = folder.join(name);
    Model::from_proto(proto).write(&path).expect("the model can be written");
    path
}

/// A folder with the classifier as `model.onnx`.
pub fn folder_with_classifier() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "model.onnx", classifier());
    folder
}

/// A detector whose answers anyone can foresee: `x [N,3,64,64]` to `scores [N,84,3]` and `boxes [N,84,4]`. The first anchor's
/// box is the middle quarter of the input, and its scores are the shares of red, green and blue; the other anchors have nothing.
pub fn colour_detector() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("colours".into());
    let open = |rest: &[u64]| {
        let fixed = rest.iter().map(|size| Dimension::Fixed(*size));
        std::iter::once(Dimension::Symbol("N".into())).chain(fixed).collect()
    };
    graph.input.push(open_tensor_value("x", ElementType::Float32, open(&[3, 64, 64])));
    graph.output.push(open_tensor_value("scores", ElementType::Float32, open(&[84, 3])));
    graph.output.push(open_tensor_value("boxes", ElementType::Float32, open(&[84, 4])));
    let mut mask = vec![0.0f32; 84];
    mask[0] = 1.0 / 255.0;
    let boxes = [16.0f32, 16.0, 48.0, 48.0].repeat(84);
    graph.initializer = vec![
        tensor("mask", [1, 84, 1], mask),
        tensor("anchors", [1, 84, 4], boxes),
        tensor("nothing", [3, 4], vec![0.0f32; 12]),
        tensor("row", [3], vec![-1i64, 1, 3]),
    ];
    graph.node = vec![
        node("GlobalAveragePool", "pool", ["x"], ["p"]),
        node("Reshape", "reshape", ["p", "row"], ["colour"]),
        node("Mul", "score", ["colour", "mask"], ["scores"]),
        node("MatMul", "zero", ["colour", "nothing"], ["z"]),
        node("Add", "place", ["anchors", "z"], ["boxes"]),
    ];
    model(graph, 9, 17)
}

/// One class, 252 rows of six at an input of 64x64: anchors of YOLOv5 and final boxes look like that.
pub fn ambiguous_detector() -> ModelProto {
    let mut graph = GraphProto::new();
    graph.name = Some("ambiguous".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 3, 64, 64]));
    graph.output.push(tensor_value("output0", ElementType::Float32, [1, 252, 6]));
    graph.initializer = vec![
        tensor("rows", [1, 252, 6], [8.0f32, 8.0, 40.0, 40.0, 0.9, 0.0].repeat(252)),
        tensor("nothing", [3, 6], vec![0.0f32; 18]),
        tensor("row", [3], vec![-1i64, 1, 3]),
    ];
    graph.node = vec![
        node("GlobalAveragePool", "pool", ["x"], ["p"]),
        node("Reshape", "reshape", ["p", "row"], ["colour"]),
        node("MatMul", "zero", ["colour", "nothing"], ["z"]),
        node("Add", "place", ["rows", "z"], ["output0"]),
    ];
    model(graph, 9, 17)
}
