//! Nodes and initializers of a graph under construction.

use trtforge_graph::construct::{node, open_tensor_value, tensor};
use trtforge_graph::proto::{GraphProto, NodeProto, ValueInfoProto};
use trtforge_graph::{Dimension, Element, ElementType};

use crate::options::Batch;

/// A graph that grows node by node, with its initializers beside it.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    graph: GraphProto,
}

impl Nodes {
    pub(crate) fn push(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    pub(crate) fn concat(&mut self, name: &str, inputs: &[&str], output: &str, axis: i64) {
        self.push(node("Concat", name, inputs.iter().copied(), [output]).attr_int("axis", axis));
    }

    pub(crate) fn reshape(&mut self, name: &str, input: &str, output: &str, dims: &[i64]) {
        let shape = self.initializer(&format!("{name}.shape"), &[dims.len()], dims.to_vec());
        self.push(node("Reshape", name, [input, &shape], [output]));
    }

    /// Adds an initializer, without copying its values, and returns its name.
    pub(crate) fn initializer<T: Element>(&mut self, name: &str, dims: &[usize], values: Vec<T>) -> String {
        let dims = dims.iter().map(|&length| length as u64);
        self.graph.initializer.push(tensor(name, dims, values));
        name.to_owned()
    }

    pub(crate) fn into_graph(self, name: &str) -> GraphProto {
        GraphProto { name: Some(name.to_owned()), ..self.graph }
    }
}

/// A float32 input or output of the model; `dims` follow the batch.
pub(crate) fn value_info(name: &str, batch: Batch, dims: &[usize]) -> ValueInfoProto {
    let first = match batch {
        Batch::Fixed(images) => Dimension::Fixed(images.into()),
        Batch::Dynamic => Dimension::Symbol("batch".to_owned()),
    };
    let rest = dims.iter().map(|&length| Dimension::Fixed(length as u64));
    open_tensor_value(name, ElementType::Float32, std::iter::once(first).chain(rest).collect())
}
