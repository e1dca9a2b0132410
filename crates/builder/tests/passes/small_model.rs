//! Small models written in code, and the means to run them.

use std::collections::HashMap;
use trtforge_graph::proto::{GraphProto, NodeProto, TensorProto};
use trtforge_graph::{ElementType, Graph, Model, Tensor, construct};
use trtforge_onnxruntime::{OnnxRuntime, Optimization, SessionConfig};

/// ONNX Runtime, or `None` with a note where it is missing and may be.
pub fn runtime() -> Option<OnnxRuntime> {
    match OnnxRuntime::load() {
        Ok(runtime) => Some(runtime),
        Err(error) if std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none() => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A model with float inputs and outputs of the given shapes.
pub struct SmallModel {
    graph: GraphProto,
    opset: i64,
}

impl SmallModel {
    pub fn new(opset: i64) -> Self {
        SmallModel { graph: GraphProto::new(), opset }
    }

    pub fn input(mut self, name: &str, shape: &[u64]) -> Self {
        self.graph.input.push(construct::tensor_value(name, ElementType::Float32, shape.iter().copied()));
        self
    }

    pub fn output(mut self, name: &str, element: ElementType, shape: &[u64]) -> Self {
        self.graph.output.push(construct::tensor_value(name, element, shape.iter().copied()));
        self
    }

    pub fn node(mut self, node: NodeProto) -> Self {
        self.graph.node.push(node);
        self
    }

    pub fn op(self, op: &str, inputs: &[&str], output: &str) -> Self {
        self.node(construct::node(op, &format!("{op}_{output}"), inputs.iter().copied(), [output]))
    }

    pub fn constant(mut self, name: &str, shape: &[u64], values: Vec<f32>) -> Self {
        self.graph.initializer.push(construct::tensor(name, shape.iter().copied(), values));
        self
    }

    pub fn tensor(mut self, tensor: TensorProto) -> Self {
        self.graph.initializer.push(tensor);
        self
    }

    pub fn build(mut self) -> Model {
        self.graph.set_name("small".into());
        Model::from_proto(construct::model(self.graph, 10, self.opset))
    }
}

/// The typed graph of a model.
pub fn typed(runtime: &OnnxRuntime, model: &Model) -> Graph {
    let mut graph = Graph::new(model.clone()).unwrap();
    graph.set_types(runtime.infer_types(model).unwrap());
    graph
}

/// Runs a model without any optimisation.
pub fn run(runtime: &OnnxRuntime, model: &Model, inputs: &[(&str, &Tensor)]) -> HashMap<String, Tensor> {
    let config = SessionConfig { optimization: Optimization::Disabled, ..SessionConfig::default() };
    runtime.session(model, &config).unwrap().run(inputs, None).unwrap().into_iter().collect()
}

/// Numbers without order that repeat: enough to tell operators apart.
pub fn numbers(shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let values = (0..count).map(|i| ((i * 7919 + 13) % 97) as f32 / 16.0 - 3.0).collect();
    Tensor::from_vec(shape.to_vec(), values).unwrap()
}

/// How often each operator stands in a model.
pub fn count(model: &Model, op: &str) -> usize {
    model.proto().graph.node.iter().filter(|node| node.op_type() == op).count()
}
