//! Visits every tensor of a model, wherever it is stored: initializers, attributes, subgraphs, functions, training.
//!
//! One walk, so that no storage place is forgotten by one of its users.

use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Calls `visit` on every tensor of `model`; stops at the first error.
pub(crate) fn tensors_mut<E>(
    model: &mut ModelProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(graph) = model.graph.as_mut() {
        graph_tensors_mut(graph, visit)?;
    }
    for training in &mut model.training_info {
        for graph in training.initialization.as_mut().into_iter().chain(training.algorithm.as_mut()) {
            graph_tensors_mut(graph, visit)?;
        }
    }
    for function in &mut model.functions {
        node_tensors_mut(&mut function.node, visit)?;
        function.attribute_proto.iter_mut().try_for_each(|attribute| attribute_tensors_mut(attribute, visit))?;
    }
    Ok(())
}

/// Calls `visit` on every tensor of `graph` and of the graphs inside it.
pub(crate) fn graph_tensors_mut<E>(
    graph: &mut GraphProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    graph.sparse_initializer.iter_mut().try_for_each(|sparse| sparse_tensors_mut(sparse, visit))?;
    node_tensors_mut(&mut graph.node, visit)
}

fn node_tensors_mut<E>(
    nodes: &mut [NodeProto],
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    nodes
        .iter_mut()
        .flat_map(|node| node.attribute.iter_mut())
        .try_for_each(|attribute| attribute_tensors_mut(attribute, visit))
}

fn attribute_tensors_mut<E>(
    attribute: &mut AttributeProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    attribute.t.as_mut().into_iter().chain(attribute.tensors.iter_mut()).try_for_each(&mut *visit)?;
    for sparse in attribute.sparse_tensor.as_mut().into_iter().chain(attribute.sparse_tensors.iter_mut()) {
        sparse_tensors_mut(sparse, visit)?;
    }
    for graph in attribute.g.as_mut().into_iter().chain(attribute.graphs.iter_mut()) {
        graph_tensors_mut(graph, visit)?;
    }
    Ok(())
}

fn sparse_tensors_mut<E>(
    sparse: &mut SparseTensorProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    sparse.values.as_mut().into_iter().chain(sparse.indices.as_mut()).try_for_each(visit)
}

/// The graphs that `node` holds in its attributes.
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(attribute.graphs.iter()))
}

/// The graphs that `node` holds in its attributes, to be changed.
pub(crate) fn subgraphs_mut(node: &mut NodeProto) -> impl Iterator<Item = &mut GraphProto> {
    node.attribute.iter_mut().flat_map(|attribute| attribute.g.as_mut().into_iter().chain(attribute.graphs.iter_mut()))
}
