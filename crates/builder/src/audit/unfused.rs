//! Q/DQ pairs that nothing will fuse: TensorRT runs them as steps of their own, which costs time and memory.
//!
//! A pair is of use if one reader of its `DequantizeLinear` runs in INT8: a convolution with quantized weights, a product of two quantized values, an operator that
//! moves or selects data, a pooling or sum whose result is quantized again, or the addition behind an INT8 convolution.

use super::convolutions::{quantize_before, stored};
use super::{Arithmetic, UnfusedPair};
use crate::precision::node_label;
use crate::quantization::{MOVES, is_dequantize, is_quantize, linear_parameters, moved_inputs};
use std::collections::{HashMap, HashSet};
use trtforge_graph::{ElementType, Graph, NodeId, Slot, ValueId};

/// Operators with INT8 kernels that compute: their result has to be quantized as well.
const COMPUTES: &[&str] =
    &["AveragePool", "GlobalAveragePool", "Resize", "Upsample", "ReduceMean", "Add", "Sub", "Mul", "Max", "Min"];

/// Operators that TensorRT puts into the convolution before them or the step that quantizes them.
const ACTIVATIONS: &[&str] =
    &["Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Mul", "Elu"];

/// The pairs without use, in running order.
pub(super) fn pairs(graph: &Graph, arithmetic: &HashMap<NodeId, Arithmetic>) -> Vec<UnfusedPair> {
    let search = Search { graph, arithmetic };
    graph.node_ids().filter(|&node| is_dequantize(graph, node)).filter_map(|node| search.judge(node)).collect()
}

struct Search<'a> {
    graph: &'a Graph,
    arithmetic: &'a HashMap<NodeId, Arithmetic>,
}

impl Search<'_> {
    fn judge(&self, dequantize: NodeId) -> Option<UnfusedPair> {
        let graph = self.graph;
        let value = graph.output(dequantize, 0)?;
        let readers = &graph.value(value).consumers;
        let mut reasons = Vec::new();
        for reader in readers {
            reasons.push(self.obstacle(reader.node, reader.slot, dequantize)?);
        }
        reasons.dedup();
        let outside = graph.value(value).is_output.then(|| "it is an output of the model".to_owned());
        let mut reasons: Vec<String> = reasons.into_iter().chain(outside).collect();
        if reasons.is_empty() {
            reasons.push("nothing reads it".to_owned());
        }
        let quantized = quantize_before(graph, dequantize).unwrap_or(dequantize);
        let tensor = graph.input(quantized, 0)?;
        Some(UnfusedPair {
            tensor: graph.value(tensor).name.clone(),
            dequantize: node_label(graph, dequantize),
            reason: reasons.join("; "),
        })
    }

    /// Why a reader makes no use of 8-bit data; `None` where it does.
    fn obstacle(&self, reader: NodeId, slot: Slot, dequantize: NodeId) -> Option<String> {
        let graph = self.graph;
        let operator = graph.op_type(reader);
        let named = || format!("{operator} `{}`", node_label(graph, reader));
        if slot == Slot::Capture || !graph.domain(reader).is_empty() {
            return Some(format!("{} runs in floating point", named()));
        }
        match self.arithmetic.get(&reader) {
            Some(Arithmetic::Int8) if slot == Slot::Input(2) => {
                return Some(format!("it is the bias of {}, which TensorRT adds in floating point", named()));
            }
            Some(Arithmetic::Int8) => return None,
            Some(_) => {
                return self.convolution_obstacle(reader, slot, dequantize).map(|why| format!("{} {why}", named()));
            }
            None => {}
        }
        let fits = match operator {
            "MatMul" => self.all_dequantized(reader),
            _ if self.moves(reader) => self.all_dequantized(reader) || self.is_requantized(reader),
            "Add" if self.has_int8_sibling(reader, dequantize) => true,
            _ if COMPUTES.contains(&operator) => self.all_dequantized(reader) && self.is_requantized(reader),
            _ => false,
        };
        if fits {
            return None;
        }
        Some(match operator {
            "QuantizeLinear" => format!("{} only gives it another scale", named()),
            _ if self.moves(reader) || COMPUTES.contains(&operator) => {
                format!("{} has other inputs, or a result, that are not quantized", named())
            }
            _ => format!("{} runs in floating point", named()),
        })
    }

    fn convolution_obstacle(&self, reader: NodeId, slot: Slot, dequantize: NodeId) -> Option<String> {
        let bias = linear_parameters(self.graph, dequantize).is_ok_and(|found| found.element == ElementType::Int32);
        Some(match slot {
            _ if bias => "takes its bias in floating point".to_owned(),
            Slot::Input(2) => "takes its bias in floating point".to_owned(),
            _ if self.arithmetic.get(&reader) == Some(&Arithmetic::Other) => "is of another kind".to_owned(),
            _ => "does not run in INT8".to_owned(),
        })
    }

    /// Whether everything that a node computes with comes out of a `DequantizeLinear`. Shapes, indices and sizes do not count.
    fn all_dequantized(&self, node: NodeId) -> bool {
        let graph = self.graph;
        let all = matches!(graph.op_type(node), "MatMul" | "Add" | "Sub" | "Mul" | "Max" | "Min");
        let read = if all { usize::MAX } else { moved_inputs(graph, node) };
        let inputs = graph.inputs(node).iter().flatten().take(read);
        let dequantized = |value: &ValueId| graph.producer(*value).is_some_and(|node| is_dequantize(graph, node));
        inputs.into_iter().all(dequantized)
    }

    /// Whether a node commutes with quantization: it moves or selects numbers, or pads with zeros.
    fn moves(&self, node: NodeId) -> bool {
        match self.graph.op_type(node) {
            "Resize" | "Upsample" => matches!(self.graph.attribute_string(node, "mode"), None | Some("nearest")),
            operator => operator == "Pad" || MOVES.contains(&operator),
        }
    }

    /// Whether what a node makes is quantized, directly or behind activations and operators that move data.
    fn is_requantized(&self, node: NodeId) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let outputs = self.graph.outputs(node).iter().flatten();
            for reader in outputs.flat_map(|&value| &self.graph.value(value).consumers) {
                if is_quantize(self.graph, reader.node) {
                    return true;
                }
                let followed = self.moves(reader.node) || ACTIVATIONS.contains(&self.graph.op_type(reader.node));
                if followed && seen.insert(reader.node) {
                    open.push(reader.node);
                }
            }
        }
        false
    }

    /// Whether another input of an addition is what an INT8 convolution makes, through its activation if it has one.
    fn has_int8_sibling(&self, addition: NodeId, dequantize: NodeId) -> bool {
        let own = self.graph.output(dequantize, 0);
        let mut seen = HashSet::new();
        let mut open: Vec<ValueId> =
            self.graph.inputs(addition).iter().flatten().copied().filter(|&value| Some(value) != own).collect();
        while let Some(value) = open.pop() {
            let Some(node) = self.graph.producer(value).filter(|&node| seen.insert(node)) else { continue };
            if self.arithmetic.get(&node) == Some(&Arithmetic::Int8) {
                return true;
            }
            if ACTIVATIONS.contains(&self.graph.op_type(node)) {
                open.extend(
                    self.graph.inputs(node).iter().flatten().filter(|&&value| stored(self.graph, value).is_none()),
                );
            }
        }
        false
    }
}
