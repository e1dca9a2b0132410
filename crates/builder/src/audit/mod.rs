//! Precision audit: what the convolutions and matrix products of a model compute in, and the Q/DQ pairs that nothing will fuse.
//!
//! Read off the graph by TensorRT's rules for explicit quantization, without building anything: a convolution runs in INT8 where its data and its weights
//! both come out of a symmetric signed `DequantizeLinear`; everything else runs in the type of its data. Weights are never read, only their types.

mod convolutions;
mod unfused;

use crate::quantization::{is_dequantize, is_quantize};
use serde::Serialize;
use std::collections::HashMap;
use trtforge_graph::{Graph, NodeId};

/// What a node computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// 8-bit integers.
    Int8,
    /// Half precision.
    Fp16,
    /// 32-bit floating point.
    Fp32,
    /// Another type, or an integer operator that TensorRT does not have.
    Other,
}

impl Arithmetic {
    /// Every kind, smallest first.
    pub const ALL: [Arithmetic; 4] = [Arithmetic::Int8, Arithmetic::Fp16, Arithmetic::Fp32, Arithmetic::Other];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Int8 => "int8",
            Arithmetic::Fp16 => "fp16",
            Arithmetic::Fp32 => "fp32",
            Arithmetic::Other => "other",
        }
    }
}

/// A convolution or a matrix product with stored weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditedNode {
    /// Its name, or its first output where it has none.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// What it computes in.
    pub arithmetic: Arithmetic,
    /// What keeps it from INT8, where something of it is quantized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Floating-point operations, two per multiply-accumulate; `None` where a shape is not known.
    pub flop: Option<u64>,
    /// Elements of its weights, bias not counted; `None` where the shape is not known.
    pub weights: Option<u64>,
}

/// What is computed in one kind of arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArithmeticShare {
    /// The kind.
    pub arithmetic: Arithmetic,
    /// Convolutions and matrix products.
    pub nodes: u64,
    /// Part of all of them; 0 where there are none, as for the other fractions.
    pub nodes_fraction: f64,
    /// Floating-point operations, where known.
    pub flop: u64,
    /// Part of all known ones.
    pub flop_fraction: f64,
    /// Elements of weights.
    pub weights: u64,
    /// Part of all of them.
    pub weights_fraction: f64,
}

/// A `DequantizeLinear` that no reader makes use of: TensorRT runs it, and the `QuantizeLinear` before it, as steps of their own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnfusedPair {
    /// The tensor that is quantized: the input of the `QuantizeLinear`, or of the `DequantizeLinear` where there is none.
    pub tensor: String,
    /// The `DequantizeLinear`.
    pub dequantize: String,
    /// Why nothing fuses it.
    pub reason: String,
}

/// The findings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// INT8, FP16 and FP32, in this order; other arithmetic only where there is some.
    pub shares: Vec<ArithmeticShare>,
    /// How many convolutions and matrix products have arithmetic of unknown size, because a shape is not known.
    pub unknown_flop: usize,
    /// Number of `QuantizeLinear` nodes.
    pub quantize_nodes: usize,
    /// Number of `DequantizeLinear` nodes.
    pub dequantize_nodes: usize,
    /// Every convolution and matrix product, in running order.
    pub convolutions: Vec<AuditedNode>,
    /// Pairs that cost time and memory and save nothing.
    pub unfused: Vec<UnfusedPair>,
}

impl Audit {
    /// The part computed in one kind of arithmetic; nothing for kinds that do not occur.
    pub fn share(&self, arithmetic: Arithmetic) -> Option<&ArithmeticShare> {
        self.shares.iter().find(|share| share.arithmetic == arithmetic)
    }
}

/// Audits the main graph of a model; `graph` should know the type of every value (see `OnnxRuntime::infer_types`). Nodes in subgraphs are not looked at.
pub fn audit(graph: &Graph) -> Audit {
    let macs: HashMap<NodeId, Option<u64>> =
        trtforge_graph::statistics(graph).nodes.into_iter().map(|node| (node.id, node.macs)).collect();
    let mut arithmetic = HashMap::new();
    let mut convolutions = Vec::new();
    for node in graph.node_ids() {
        let Some(judged) = convolutions::judge(graph, node) else { continue };
        arithmetic.insert(node, judged.arithmetic);
        convolutions.push(AuditedNode {
            node: crate::precision::node_label(graph, node),
            operator: graph.op_type(node).to_owned(),
            arithmetic: judged.arithmetic,
            reason: judged.reason,
            flop: macs.get(&node).copied().flatten().and_then(|macs| macs.checked_mul(2)),
            weights: judged.weights,
        });
    }
    Audit {
        shares: shares(&convolutions),
        unknown_flop: convolutions.iter().filter(|node| node.flop.is_none()).count(),
        quantize_nodes: graph.node_ids().filter(|&node| is_quantize(graph, node)).count(),
        dequantize_nodes: graph.node_ids().filter(|&node| is_dequantize(graph, node)).count(),
        unfused: unfused::pairs(graph, &arithmetic),
        convolutions,
    }
}

fn shares(nodes: &[AuditedNode]) -> Vec<ArithmeticShare> {
    let sum = |count: fn(&AuditedNode) -> u64, of: Option<Arithmetic>| -> u64 {
        nodes.iter().filter(|node| of.is_none_or(|of| node.arithmetic == of)).map(count).fold(0, u64::saturating_add)
    };
    let counts: [fn(&AuditedNode) -> u64; 3] = [|_| 1, |node| node.flop.unwrap_or(0), |node| node.weights.unwrap_or(0)];
    let share = |arithmetic| {
        let [nodes, flop, weights] = counts.map(|count| {
            let (part, all) = (sum(count, Some(arithmetic)), sum(count, None));
            (part, part as f64 / all.max(1) as f64)
        });
        ArithmeticShare {
            arithmetic,
            nodes: nodes.0,
            nodes_fraction: nodes.1,
            flop: flop.0,
            flop_fraction: flop.1,
            weights: weights.0,
            weights_fraction: weights.1,
        }
    };
    let shares = Arithmetic::ALL.map(share).into_iter();
    shares.filter(|share| share.arithmetic != Arithmetic::Other || share.nodes > 0).collect()
}
