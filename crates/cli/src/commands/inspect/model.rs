//! An ONNX model: its tensors, operators, weights by element type, arithmetic and metadata.

use super::audit;
use crate::args::json::JsonArgs;
use crate::standard_output;
use crate::table::{Table, grouped, pairs};
use crate::typed_model::{self, TypeSource, Typed};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_builder::{Audit, format_bytes};
use trtforge_graph::proto::{ModelProto, TensorProto};
use trtforge_graph::{
    Dimension, ElementType, Graph, Model, NodeStatistics, Statistics, TensorType, ValueId, ValueType,
};

/// What is told about a model.
#[derive(Debug, Default, Serialize)]
struct Report {
    kind: &'static str,
    path: PathBuf,
    bytes: u64,
    external_data: bool,
    ir_version: i64,
    opsets: BTreeMap<String, i64>,
    producer: String,
    graph: String,
    inputs: Vec<TensorReport>,
    outputs: Vec<TensorReport>,
    nodes: usize,
    operators: BTreeMap<String, usize>,
    parameters: u64,
    weights_bytes: u64,
    weights: BTreeMap<String, Weights>,
    arithmetic: Arithmetic,
    /// What convolutions and matrix products compute in.
    precision: Audit,
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_list: Option<Vec<NodeReport>>,
}

/// An input or output.
#[derive(Debug, Serialize)]
struct TensorReport {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    element: Option<String>,
    /// Numbers, names of open dimensions, or null where nothing is known.
    shape: Option<Vec<serde_json::Value>>,
}

/// Weights of one element type.
#[derive(Debug, Default, Serialize)]
struct Weights {
    tensors: u64,
    parameters: u64,
    bytes: u64,
}

/// How much there is to compute.
#[derive(Debug, Default, Serialize)]
struct Arithmetic {
    /// Twice the multiply-accumulates, in units of 10^9.
    gflop: f64,
    /// Nodes whose arithmetic is not known, because a shape is open or missing.
    nodes_unknown: usize,
    /// Where the shapes come from.
    shapes: TypeSource,
    /// Whether open batch dimensions were taken as 1.
    at_batch_one: bool,
}

/// One node.
#[derive(Debug, Serialize)]
struct NodeReport {
    #[serde(flatten)]
    numbers: NodeStatistics,
    /// Type of its first output.
    output: String,
}

/// Prints a model's report.
pub fn inspect(path: &Path, nodes: bool, json: JsonArgs) -> Result<()> {
    let report = Report::of(path, nodes)?;
    match json.json {
        true => standard_output::write_json(&report),
        false => standard_output::write(report.text()),
    }
}

impl Report {
    fn of(path: &Path, nodes: bool) -> Result<Self> {
        let model = Model::read(path)?;
        let mut report = Self::declared(path, &model);
        let Typed { graph, source, at_batch_one } = typed_model::read(model)?;
        let statistics = trtforge_graph::statistics(at_batch_one.as_ref().unwrap_or(&graph));
        report.inputs = tensors(&graph, graph.graph_inputs());
        report.outputs = tensors(&graph, graph.graph_outputs());
        report.nodes = graph.node_count();
        report.operators.clone_from(&statistics.operators);
        report.arithmetic = Arithmetic::of(&statistics, source, at_batch_one.is_some());
        report.precision = trtforge_builder::audit(at_batch_one.as_ref().unwrap_or(&graph));
        report.node_list = nodes.then(|| node_list(&graph, statistics));
        Ok(report)
    }

    /// What the file says of itself, before anything is looked at as a graph.
    fn declared(path: &Path, model: &Model) -> Self {
        let proto = model.proto();
        let weights = weights(proto);
        let metadata = proto.metadata_props.iter();
        Self {
            kind: "model",
            path: path.to_owned(),
            bytes: std::fs::metadata(path).map_or(0, |data| data.len()),
            external_data: model.uses_external_data(),
            ir_version: proto.ir_version(),
            opsets: proto.opset_import.iter().map(|set| (domain(set.domain()), set.version())).collect(),
            producer: format!("{} {}", proto.producer_name(), proto.producer_version()).trim().to_owned(),
            graph: proto.graph.name().to_owned(),
            parameters: weights.values().map(|weights| weights.parameters).sum(),
            weights_bytes: weights.values().map(|weights| weights.bytes).sum(),
            weights,
            metadata: metadata.map(|entry| (entry.key().to_owned(), entry.value().to_owned())).collect(),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        let mut text = self.summary();
        let mut sections = vec![self.tensors()];
        sections.extend(audit::sections(&self.precision));
        sections.extend([self.operators(), self.weights(), self.metadata(), self.node_list()]);
        for section in sections {
            if !section.is_empty() {
                text += "\n";
                text += &section;
            }
        }
        text
    }

    fn summary(&self) -> String {
        let external = if self.external_data { ", weights in external files" } else { "" };
        let opsets: Vec<String> = self.opsets.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
        pairs(&[
            ("model", format!("{}  {}{external}", self.path.display(), format_bytes(self.bytes))),
            ("format", format!("IR version {}, opset {}", self.ir_version, opsets.join(", "))),
            ("producer", or_dash(&self.producer)),
            ("graph", format!("{}, {} nodes", or_dash(&self.graph), self.nodes)),
            ("weights", format!("{} parameters, {}", grouped(self.parameters), format_bytes(self.weights_bytes))),
            ("arithmetic", self.arithmetic.text()),
            ("precision", audit::line(&self.precision)),
        ])
    }

    fn tensors(&self) -> String {
        let mut table = Table::new(&["", "NAME", "TYPE"]);
        for (role, tensors) in [("input", &self.inputs), ("output", &self.outputs)] {
            tensors.iter().for_each(|tensor| table.row([role, &tensor.name, &tensor.ty]));
        }
        table.render()
    }

    fn operators(&self) -> String {
        let mut operators: Vec<_> = self.operators.iter().collect();
        operators.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        let mut table = Table::new(&["OPERATOR", ">NODES"]);
        operators.iter().for_each(|(name, count)| table.row([(*name).clone(), count.to_string()]));
        table.render()
    }

    fn weights(&self) -> String {
        let mut table = Table::new(&["WEIGHTS", ">TENSORS", ">PARAMETERS", ">BYTES"]);
        for (element, weights) in &self.weights {
            let numbers = [weights.tensors, weights.parameters, weights.bytes].map(grouped);
            table.row(std::iter::once(element.clone()).chain(numbers));
        }
        if table.is_empty() { String::new() } else { table.render() }
    }

    fn metadata(&self) -> String {
        let mut table = Table::new(&["METADATA", ""]);
        self.metadata.iter().for_each(|(key, value)| table.row([key.clone(), one_line(value)]));
        if table.is_empty() { String::new() } else { table.render() }
    }

    fn node_list(&self) -> String {
        let Some(nodes) = &self.node_list else { return String::new() };
        let mut table = Table::new(&["NODE", "OPERATOR", "OUTPUT", ">MAC", ">PARAMETERS"]);
        for NodeReport { numbers, output } in nodes {
            let macs = numbers.macs.map_or_else(|| "?".to_owned(), grouped);
            let parameters = grouped(numbers.parameters);
            table.row([numbers.name.clone(), numbers.operator.clone(), output.clone(), macs, parameters]);
        }
        table.render()
    }
}

impl Arithmetic {
    fn of(statistics: &Statistics, shapes: TypeSource, at_batch_one: bool) -> Self {
        Self { gflop: statistics.gflop(), nodes_unknown: statistics.unknown.len(), shapes, at_batch_one }
    }

    fn text(&self) -> String {
        let unknown = match self.nodes_unknown {
            0 => String::new(),
            count => format!(" without {count} nodes whose shapes are open or unknown"),
        };
        let batch = if self.at_batch_one { " at batch 1" } else { "" };
        format!("{:.3} GFLOP{batch}{unknown}", self.gflop)
    }
}

/// The longest metadata value that is shown whole; labels of a thousand classes are not.
const SHOWN_CHARACTERS: usize = 100;

fn one_line(value: &str) -> String {
    let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_CHARACTERS).collect();
    if value.chars().count() > SHOWN_CHARACTERS { line + "..." } else { line }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { one_line(text) }
}

fn domain(name: &str) -> String {
    if name.is_empty() { "ai.onnx".to_owned() } else { name.to_owned() }
}

/// Stored tensors by element type, from their declared types alone.
fn weights(proto: &ModelProto) -> BTreeMap<String, Weights> {
    let mut by_element: BTreeMap<String, Weights> = BTreeMap::new();
    for tensor in proto.graph.initializer.iter().chain(constants(proto)) {
        let element = ElementType::from_onnx(tensor.data_type());
        let count = tensor.dims.iter().try_fold(1u64, |count, &size| count.checked_mul(size.try_into().ok()?));
        let weights = by_element.entry(element.to_string()).or_default();
        weights.tensors += 1;
        weights.parameters += count.filter(|_| is_parameter(element)).unwrap_or(0);
        weights.bytes += count.and_then(|count| element.bytes_for(count)).unwrap_or(0);
    }
    by_element
}

/// Some exporters keep every weight in a node of its own.
fn constants(proto: &ModelProto) -> impl Iterator<Item = &TensorProto> {
    let constants = proto.graph.node.iter().filter(|node| node.op_type() == "Constant" && node.domain().is_empty());
    constants.flat_map(|node| &node.attribute).filter_map(|attribute| attribute.t.as_ref())
}

/// Shapes, indices and conditions are stored the same way as weights, but nobody trained them.
fn is_parameter(element: ElementType) -> bool {
    !matches!(element, ElementType::Int64 | ElementType::Bool | ElementType::String)
}

fn tensors(graph: &Graph, values: &[ValueId]) -> Vec<TensorReport> {
    let report = |value: &ValueId| {
        let value = graph.value(*value);
        TensorReport {
            name: value.name.clone(),
            ty: value.ty.as_ref().map_or_else(|| "?".to_owned(), ValueType::to_string),
            element: value.ty.as_ref().and_then(ValueType::element).map(|element| element.to_string()),
            shape: value.ty.as_ref().and_then(ValueType::tensor).and_then(shape),
        }
    };
    values.iter().map(report).collect()
}

fn shape(ty: &TensorType) -> Option<Vec<serde_json::Value>> {
    let dimension = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => (*size).into(),
        Dimension::Symbol(name) => name.clone().into(),
        Dimension::Unknown => serde_json::Value::Null,
    };
    Some(ty.shape.as_ref()?.iter().map(dimension).collect())
}

fn node_list(graph: &Graph, statistics: Statistics) -> Vec<NodeReport> {
    let report = |numbers: NodeStatistics| {
        let output = graph.output(numbers.id, 0).and_then(|value| graph.value(value).ty.as_ref());
        NodeReport { output: output.map_or_else(|| "?".to_owned(), ValueType::to_string), numbers }
    };
    statistics.nodes.into_iter().map(report).collect()
}
