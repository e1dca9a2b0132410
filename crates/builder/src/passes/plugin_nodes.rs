//! Sets nodes of plugin domains aside while ONNX Runtime works on the rest, and puts them back afterwards.
//!
//! Why: ONNX Runtime refuses a model with an operator it does not know, and TensorRT plugins (`TRT::EfficientNMS_TRT`) are such.
//! Pattern: a node of a domain that is not ONNX Runtime's. Result: the values it reads become outputs, so that they survive under their names;
//! the values it writes become inputs where something reads them. Precondition: those values have a recorded type. Numerical effect: none.

use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use trtforge_graph::Model;
use trtforge_graph::proto::{NodeProto, TensorProto, ValueInfoProto};

/// Domains whose operators ONNX Runtime brings itself, besides the model's own functions.
const KNOWN_DOMAINS: [&str; 7] = [
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview.training",
    "com.microsoft",
    "com.microsoft.nchwc",
];

/// The nodes taken out of a model, with the outputs it had.
#[derive(Clone, Debug, Default)]
pub struct PluginNodes {
    nodes: Vec<NodeProto>,
    outputs: Vec<ValueInfoProto>,
    inputs: Vec<ValueInfoProto>,
    /// Initializers that plugins read, which nothing else may keep alive.
    initializers: Vec<TensorProto>,
}

impl PluginNodes {
    /// Takes plugin nodes out of a copy of `model`; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::UnknownType`] where a value that a plugin writes is read by another node and has no recorded type.
    pub fn set_aside(model: &Model) -> Result<(Option<Model>, PluginNodes)> {
        let functions: HashSet<&str> = model.proto().functions.iter().map(|function| function.domain()).collect();
        let is_plugin =
            |node: &NodeProto| !KNOWN_DOMAINS.contains(&node.domain()) && !functions.contains(node.domain());
        if !model.proto().graph.node.iter().any(is_plugin) {
            return Ok((None, PluginNodes::default()));
        }
        let mut plain = model.clone();
        let graph = plain.proto_mut().graph.mut_or_insert_default();
        let (nodes, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut graph.node).into_iter().partition(is_plugin);
        graph.node = rest;
        let read: HashSet<&str> = nodes.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
        let initializers = graph.initializer.iter().filter(|tensor| read.contains(tensor.name())).cloned().collect();
        let aside = PluginNodes { nodes, outputs: graph.output.clone(), inputs: graph.input.clone(), initializers };
        let written: HashSet<String> = aside.nodes.iter().flat_map(|node| node.output.iter().cloned()).collect();
        let types = recorded_types(model);
        graph.output.retain(|output| !written.contains(output.name()));
        aside.open_inputs(graph, &written, &types)?;
        aside.open_outputs(graph, &written);
        Ok((Some(plain), aside))
    }

    /// Values written by plugins and read by other nodes become inputs.
    fn open_inputs(
        &self,
        graph: &mut trtforge_graph::proto::GraphProto,
        written: &HashSet<String>,
        types: &HashMap<String, ValueInfoProto>,
    ) -> Result<()> {
        let mut read: Vec<(String, String)> = Vec::new();
        for node in &graph.node {
            read.extend(
                node.input
                    .iter()
                    .filter(|name| written.contains(*name))
                    .map(|name| (name.clone(), node.name().to_owned())),
            );
        }
        read.sort();
        read.dedup_by(|a, b| a.0 == b.0);
        for (value, node) in read {
            let info = types.get(&value).ok_or(Error::UnknownType { value, node })?;
            graph.input.push(info.clone());
        }
        Ok(())
    }

    /// Values read by plugins become outputs, so that nothing removes or renames them.
    fn open_outputs(&self, graph: &mut trtforge_graph::proto::GraphProto, written: &HashSet<String>) {
        let produced: HashSet<&str> =
            graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        let mut kept: HashSet<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
        let mut opened = Vec::new();
        for name in self.nodes.iter().flat_map(|node| &node.input) {
            if produced.contains(name.as_str()) && !written.contains(name) && kept.insert(name.clone()) {
                let mut info = ValueInfoProto::new();
                info.set_name(name.clone());
                opened.push(info);
            }
        }
        graph.output.extend(opened);
    }

    /// Puts the nodes back into a model that came from [`PluginNodes::set_aside`], with the inputs and outputs it had.
    pub fn put_back(self, mut model: Model) -> Model {
        if self.nodes.is_empty() {
            return model;
        }
        let graph = model.proto_mut().graph.mut_or_insert_default();
        let known: HashSet<String> = graph.value_info.iter().map(|info| info.name().to_owned()).collect();
        let opened: Vec<ValueInfoProto> = graph
            .output
            .iter()
            .chain(&graph.input)
            .filter(|info| info.type_.is_some() && !known.contains(info.name()))
            .cloned()
            .collect();
        let original: HashSet<&str> = self.outputs.iter().chain(&self.inputs).map(|info| info.name()).collect();
        graph.value_info.extend(opened.into_iter().filter(|info| !original.contains(info.name())));
        let present: HashSet<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
        graph.initializer.extend(self.initializers.into_iter().filter(|tensor| !present.contains(tensor.name())));
        graph.node.extend(self.nodes);
        graph.output = self.outputs;
        graph.input = self.inputs;
        model
    }
}

fn recorded_types(model: &Model) -> HashMap<String, ValueInfoProto> {
    let graph = &model.proto().graph;
    graph
        .value_info
        .iter()
        .chain(&graph.output)
        .filter(|info| info.type_.is_some())
        .map(|info| (info.name().to_owned(), info.clone()))
        .collect()
}
