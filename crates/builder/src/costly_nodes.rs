//! Where a rewritten model loses most: the nodes with weights whose result is further from the FP32 model's than what they read.
//!
//! Both models run on a few samples and the values inside are compared, as `layers` does. Errors travel on, so a value's own figure says little of the node that makes it;
//! what tells is how much worse it is than the node's input.

use crate::int8::is_weighted;
use crate::layers::{LayerReport, layers_between};
use crate::precision::{NodePrecision, is_cast, node_label};
use crate::prepare::Prepared;
use crate::samples::Samples;
use crate::{CancelFlag, Error, Progress, Result};
use std::collections::HashMap;
use trtforge_graph::{Graph, NodeId, ValueId};
use trtforge_onnxruntime::OnnxRuntime;

/// Samples that are looked at.
const SAMPLES: usize = 2;
/// Nodes that are named.
const NAMED: usize = 3;
/// Nodes between a value of the FP32 model and the node that reads it: casts, a pair, an equalisation.
const MOST_BETWEEN: usize = 6;

/// A node and what is lost in it.
#[derive(Clone, Debug, PartialEq)]
pub struct CostlyNode {
    /// Its name, or its first output where it has none.
    pub node: String,
    /// What it computes in.
    pub precision: NodePrecision,
    /// SQNR of what it reads, in decibel; `None` where that is exact.
    pub before_db: Option<f64>,
    /// SQNR of what it writes, in decibel.
    pub after_db: f64,
}

/// The nodes of `prepared` that lose most, the worst first. Of those in INT8 where there are any, else of those in FP16.
///
/// # Errors
/// Those of ONNX Runtime and of the samples; [`Error::Cancelled`].
pub(crate) fn costly_nodes(
    runtime: &OnnxRuntime,
    prepared: &Prepared,
    samples: &Samples,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Vec<CostlyNode>> {
    let (reference, model) = (&prepared.reference, &prepared.model);
    let report = layers_between(runtime, reference, model, samples, SAMPLES, progress, cancel)?;
    let graph = Graph::new(model.clone()).map_err(Error::pass("costly-nodes"))?;
    let rows = prepared.table.rows().iter().map(|row| (row.node.as_str(), row.precision));
    Ok(worst(&graph, &rows.collect(), &lost_shares(&report)))
}

/// The share of each value's signal that is lost, by its name.
fn lost_shares(report: &LayerReport) -> HashMap<&str, f64> {
    let share = |sqnr_db: Option<f64>| sqnr_db.map_or(0.0, |decibel| 10f64.powf(-decibel / 10.0));
    report.layers.iter().map(|layer| (layer.accuracy.output.as_str(), share(layer.accuracy.sqnr_db))).collect()
}

fn worst(graph: &Graph, precisions: &HashMap<&str, NodePrecision>, lost: &HashMap<&str, f64>) -> Vec<CostlyNode> {
    let nodes = graph.node_ids().filter(|&node| is_weighted(graph, node));
    let mut found: Vec<(f64, CostlyNode)> = nodes
        .filter_map(|node| {
            let label = node_label(graph, node);
            let precision = *precisions.get(label.as_str())?;
            let (before, after) = (lost_before(graph, node, lost), lost_behind(graph, node, lost)?);
            let decibel = |share: f64| -10.0 * share.log10();
            let before_db = (before > 0.0).then(|| decibel(before));
            (after > before)
                .then(|| (after - before, CostlyNode { node: label, precision, before_db, after_db: decibel(after) }))
        })
        .collect();
    let lowest = match found.iter().any(|(_, node)| node.precision == NodePrecision::Int8) {
        true => NodePrecision::Int8,
        false => NodePrecision::Fp16,
    };
    found.retain(|(_, node)| node.precision == lowest);
    found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    found.into_iter().take(NAMED).map(|(_, node)| node).collect()
}

/// What is lost in front of a node: in the last value that the FP32 model has too. Nothing, where that is an input of the model.
fn lost_before(graph: &Graph, node: NodeId, lost: &HashMap<&str, f64>) -> f64 {
    let mut value = graph.input(node, 0);
    for _ in 0..MOST_BETWEEN {
        let Some(current) = value else { break };
        if let Some(&share) = lost.get(name(graph, current)) {
            return share;
        }
        value = graph.producer(current).and_then(|node| graph.input(node, 0));
    }
    0.0
}

/// What is lost behind a node, which may write a half-precision value under a name of its own, cast to the one that is known.
fn lost_behind(graph: &Graph, node: NodeId, lost: &HashMap<&str, f64>) -> Option<f64> {
    let value = graph.output(node, 0)?;
    let casts = graph.value(value).consumers.iter().map(|reader| reader.node).filter(|&reader| is_cast(graph, reader));
    let known = std::iter::once(value).chain(casts.filter_map(|cast| graph.output(cast, 0)));
    known.into_iter().find_map(|value| lost.get(name(graph, value)).copied())
}

fn name(graph: &Graph, value: ValueId) -> &str {
    &graph.value(value).name
}

#[cfg(test)]
mod tests {
    use super::*;
    use trtforge_graph::construct::{model, node, scalar, tensor, tensor_value};
    use trtforge_graph::proto::GraphProto;
    use trtforge_graph::{ElementType, Model};

    /// `x`, a convolution, a pair, a convolution.
    fn two_convolutions() -> Graph {
        let mut graph = GraphProto::new();
        graph.set_name("two".into());
        graph.input.push(tensor_value("x", ElementType::Float32, [1, 1, 4, 4]));
        graph.output.push(tensor_value("y", ElementType::Float32, [1, 1, 4, 4]));
        graph.initializer = vec![tensor("w", [1, 1, 1, 1], vec![1f32]), scalar("s", 0.1f32), scalar("z", 0i8)];
        graph.node = vec![
            node("Conv", "first", ["x", "w"], ["a"]),
            node("QuantizeLinear", "q", ["a", "s", "z"], ["a__int8"]),
            node("DequantizeLinear", "d", ["a__int8", "s", "z"], ["a__dequantized"]),
            node("Conv", "second", ["a__dequantized", "w"], ["y"]),
        ];
        Graph::new(Model::from_proto(model(graph, 9, 17))).unwrap()
    }

    fn found(precisions: [NodePrecision; 2], lost: [f64; 2]) -> Vec<CostlyNode> {
        let precisions = HashMap::from([("first", precisions[0]), ("second", precisions[1])]);
        worst(&two_convolutions(), &precisions, &HashMap::from([("a", lost[0]), ("y", lost[1])]))
    }

    #[test]
    fn a_node_answers_for_what_it_adds_and_not_for_what_it_reads() {
        use NodePrecision::Int8;
        let nodes = found([Int8, Int8], [0.1, 0.11]);
        assert_eq!(nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!((nodes[0].before_db, nodes[0].after_db), (None, 10.0));
        assert_eq!(nodes[1].before_db, Some(10.0));
        assert_eq!(found([Int8, Int8], [0.1, 0.1]).len(), 1, "the second adds nothing");
    }

    #[test]
    fn nodes_in_int8_are_named_before_those_in_fp16() {
        use NodePrecision::{Fp16, Int8};
        let named = |precisions| found(precisions, [0.1, 0.2]).into_iter().map(|node| node.node).collect::<Vec<_>>();
        assert_eq!(named([Fp16, Int8]), ["second"]);
        assert_eq!(named([Fp16, Fp16]).len(), 2);
    }
}
