//! Small models for the tests, made here.

use trtforge_graph::construct::{model, node, scalar, tensor, tensor_value};
use trtforge_graph::proto::{GraphProto, NodeProto, TensorProto};
use trtforge_graph::{ElementType, Model};

use crate::machine::noise;

/// A model with one input `x` and one output `y` of these types.
pub fn network(
    nodes: Vec<NodeProto>,
    weights: Vec<TensorProto>,
    x: (ElementType, &[u64]),
    y: (ElementType, &[u64]),
) -> Model {
    let graph = GraphProto {
        name: Some("test".into()),
        node: nodes,
        initializer: weights,
        input: vec![tensor_value("x", x.0, x.1.iter().copied())],
        output: vec![tensor_value("y", y.0, y.1.iter().copied())],
        ..Default::default()
    };
    Model::from_proto(model(graph, 8, 17))
}

/// A model of one node without weights.
pub fn single(op: &str, x: (ElementType, &[u64]), y: (ElementType, &[u64])) -> Model {
    network(vec![node(op, "only", ["x"], ["y"])], vec![], x, y)
}

/// `blocks` convolutions of `channels` channels, each followed by a BatchNormalization, an Identity and a Relu.
pub fn convolutions(blocks: usize, channels: u64, normalized: bool) -> Model {
    let mut nodes = Vec::new();
    let mut weights = Vec::new();
    let mut last = "x".to_owned();
    for block in 0..blocks {
        let name = |part: &str| format!("block{block}.{part}");
        let inputs = if block == 0 { 3 } else { channels };
        let count = channels * inputs * 9;
        let scale = (2.0 / (inputs * 9) as f32).sqrt();
        let values = noise(count, block as u64 + 1).into_iter().map(|value| value * scale).collect();
        weights.push(tensor::<f32>(&name("weight"), [channels, inputs, 3, 3], values));
        let convolution = node("Conv", &name("conv"), [last, name("weight")], [name("a")]);
        nodes.push(convolution.attr_ints("pads", vec![1; 4]));
        last = name("a");
        if normalized {
            for (part, value) in [("scale", 1.1), ("bias", 0.1), ("mean", 0.05), ("variance", 0.9)] {
                weights.push(tensor::<f32>(&name(part), [channels], vec![value; channels as usize]));
            }
            let inputs = [last, name("scale"), name("bias"), name("mean"), name("variance")];
            nodes.push(node("BatchNormalization", &name("norm"), inputs, [name("b")]));
            last = name("b");
        }
        nodes.push(node("Identity", &name("same"), [last], [name("c")]));
        nodes.push(node("Relu", &name("relu"), [name("c")], [name("d")]));
        last = name("d");
    }
    weights.push(scalar("half", 0.5f32));
    nodes.push(node("Mul", "scaled", [last.as_str(), "half"], ["y"]));
    network(nodes, weights, (ElementType::Float32, &[1, 3, 16, 16]), (ElementType::Float32, &[1, channels, 16, 16]))
}
