//! Which nodes compute in INT8, which tensors are quantized for them, and why the others are not.
//!
//! Follows what TensorRT fuses. A node with weights reads quantized data and quantized weights; what it writes is not quantized by habit, because the next reader's own
//! pair does it, behind the activation function that belongs to the same fused group. Nodes without weights stay in INT8 where everything behind them is: they only
//! move numbers, so the tensors on both sides share one scale and nothing more is lost. The branch that joins a convolution in a residual sum is read in INT8 as well.
//!
//! The policy looks at structure alone. Ranges and errors speak through the exceptions it is given. Nothing here changes a graph.

use super::channels::ChannelMap;
use super::groups::Groups;
use super::placement::{Placement, QuantizedTensor};
use super::weights::WeightSlot;
use crate::precision::{Keep, NodePrecision, PrecisionRow, PrecisionTable, is_float32, node_label};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use trtforge_graph::{Graph, NodeId, Slot, ValueId, ValueType};

/// Least number of terms and of results for which a matrix product is worth quantizing.
const LEAST_MATRIX_SIDE: u64 = 16;

/// Operators that hand numbers on as they are, slot 0 in and slot 0 out.
const MOVES: &[&str] =
    &["MaxPool", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "DepthToSpace", "SpaceToDepth"];

/// The INT8 policy.
#[derive(Clone, Debug)]
pub struct Int8Policy<'a> {
    /// What the half-precision policy decided for the same graph; what must stay in 32 bits is not quantized.
    pub half: &'a PrecisionTable,
    /// The user's exceptions.
    pub keep: &'a [Keep],
    /// Nodes that must not compute in INT8, and why.
    pub excluded: &'a HashMap<NodeId, String>,
    /// Tensors that must not be quantized, and why.
    pub excluded_tensors: &'a HashMap<ValueId, String>,
    /// Which nodes without weights may stay in INT8.
    pub form: Form,
}

/// What a placement quantizes beside the inputs of nodes with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Form {
    /// The other branch of a residual sum.
    pub residual_sums: bool,
    /// Concatenations, with one scale for all parts.
    pub concatenations: bool,
    /// Nodes that move or select data.
    pub moves: bool,
    /// Average pools.
    pub averages: bool,
}

impl Form {
    /// Everything that TensorRT keeps in INT8.
    pub const FULL: Form = Form { residual_sums: true, concatenations: true, moves: true, averages: true };
    /// Nothing but the inputs of nodes with weights.
    pub const INPUTS_ONLY: Form = Form { residual_sums: false, concatenations: false, moves: false, averages: false };
    /// Those, and the other branch of every residual sum.
    pub const SUMS_ONLY: Form = Form { residual_sums: true, ..Form::INPUTS_ONLY };
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.residual_sums, "residual sums"),
            (self.concatenations, "concatenations"),
            (self.moves, "moves"),
            (self.averages, "averages"),
        ];
        f.write_str("inputs of nodes with weights")?;
        parts.iter().filter(|(placed, _)| *placed).try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

impl Default for Form {
    fn default() -> Self {
        Form::FULL
    }
}

impl Int8Policy<'_> {
    /// Decides where quantization goes in `graph`, whose values must have types.
    pub fn place(&self, graph: &Graph) -> Placement {
        let mut decision = Decision { policy: self, graph, placement: Placement::default(), groups: Groups::default() };
        decision.place_weighted_nodes();
        decision.place_residual_sums();
        decision.place_carriers();
        decision.finish()
    }

    /// Patterns of `keep` that ask for FP16 and match no node with weights.
    pub(crate) fn weighted_nodes(graph: &Graph) -> impl Iterator<Item = NodeId> + '_ {
        graph.node_ids().filter(|&node| is_weighted(graph, node))
    }
}

/// The depthwise convolutions, with the reason why they stay in FP16, unless they are wanted in INT8.
pub(super) fn left_to_half(graph: &Graph, depthwise: bool) -> HashMap<NodeId, String> {
    let is_depthwise = |&node: &NodeId| {
        let weight = graph.input(node, 1).and_then(|weight| graph.constant(weight));
        let map = weight.and_then(|weight| ChannelMap::of(graph, node, &weight));
        map.is_some_and(|map| map.inputs > 1 && map.is_depthwise())
    };
    let nodes = graph.node_ids().filter(|node| !depthwise && is_depthwise(node));
    nodes.map(|node| (node, "depthwise: takes more memory in INT8 than in FP16".to_owned())).collect()
}

/// Whether a node multiplies data by weights, constant or not.
pub(crate) fn is_weighted(graph: &Graph, node: NodeId) -> bool {
    graph.domain(node).is_empty() && matches!(graph.op_type(node), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

struct Decision<'a> {
    policy: &'a Int8Policy<'a>,
    graph: &'a Graph,
    placement: Placement,
    groups: Groups,
}

impl Decision<'_> {
    fn place_weighted_nodes(&mut self) {
        for node in Int8Policy::weighted_nodes(self.graph) {
            let (precision, reason) = match self.weighted(node) {
                Ok((value, slot)) => {
                    self.read(value, node, 0);
                    self.placement.weights.insert(node, slot);
                    (NodePrecision::Int8, "data and weights are 8-bit integers".to_owned())
                }
                Err(reason) => (self.policy.half.precision(node), reason),
            };
            self.say(node, precision, reason);
        }
    }

    /// The data input and the weight of a node that may compute in INT8, or why it may not.
    fn weighted(&self, node: NodeId) -> Result<(ValueId, WeightSlot), String> {
        let graph = self.graph;
        if let Some(reason) = self.policy.excluded.get(&node) {
            return Err(reason.clone());
        }
        let label = node_label(graph, node);
        if let Some(keep) = self.policy.keep.iter().find(|keep| keep.pattern.is_match(&label)) {
            return Err(format!("kept by `{}`", keep.pattern));
        }
        if self.policy.half.precision(node) != NodePrecision::Fp16 {
            return Err(self.policy.half.row(node).map_or_else(String::new, |row| row.reason.clone()));
        }
        let value =
            graph.input(node, 0).filter(|&value| is_float32(graph, value)).ok_or("its input is no 32-bit data")?;
        if let Some(reason) = self.policy.excluded_tensors.get(&value) {
            return Err(reason.clone());
        }
        let slot = WeightSlot::of(graph, node).ok_or("its weights are not constant")?;
        if graph.constant(value).is_some() {
            return Err("its input is constant".into());
        }
        if comes_from_softmax(graph, value) {
            return Err("weighs the probabilities of a softmax: part of the decoding".into());
        }
        small_matrix(graph, node).map_or(Ok((value, slot)), |reason| Err(reason.into()))
    }

    /// In a sum of a convolution's result and another tensor, the other one is read in INT8: TensorRT adds it inside the convolution.
    fn place_residual_sums(&mut self) {
        if !self.policy.form.residual_sums {
            return;
        }
        let sums: Vec<NodeId> = self.graph.node_ids().filter(|&node| is_op(self.graph, node, "Add")).collect();
        for node in sums {
            let (Some(a), Some(b)) = (self.graph.input(node, 0), self.graph.input(node, 1)) else { continue };
            if a == b || !same_shape(self.graph, a, b) {
                continue;
            }
            let fused = |value| self.is_fused_into(value, node);
            let other = match (fused(a), fused(b)) {
                (_, true) if self.may_quantize(a) => (a, 0),
                (true, _) if self.may_quantize(b) => (b, 1),
                _ => continue,
            };
            self.read(other.0, node, other.1);
        }
    }

    /// Whether `value` is what an INT8 convolution writes, and only `reader` reads it.
    fn is_fused_into(&self, value: ValueId, reader: NodeId) -> bool {
        let by_int8 = self.graph.producer(value).is_some_and(|node| self.placement.weights.contains_key(&node));
        let value = self.graph.value(value);
        by_int8 && !value.is_output && value.consumers.iter().all(|user| user.node == reader)
    }

    fn may_quantize(&self, value: ValueId) -> bool {
        let usable = is_float32(self.graph, value) && self.graph.constant(value).is_none();
        usable && !self.policy.excluded_tensors.contains_key(&value)
    }

    /// Nodes without weights whose every reader reads integers read integers as well. Backwards, so that chains are followed to their start.
    fn place_carriers(&mut self) {
        let nodes: Vec<NodeId> = self.graph.node_ids().collect();
        for &node in nodes.iter().rev() {
            let Some(carrier) = self.carrier(node) else { continue };
            let Some(output) = self.graph.output(node, 0) else { continue };
            if !self.is_read_as_integers(output) || !carrier.inputs.iter().all(|&(_, value)| self.may_quantize(value)) {
                continue;
            }
            for (slot, value) in carrier.inputs {
                self.read(value, node, slot);
                if carrier.keeps_scale {
                    self.groups.join(value, output);
                }
            }
            self.say(node, NodePrecision::Int8, "between 8-bit integers".into());
        }
    }

    fn carrier(&self, node: NodeId) -> Option<Carrier> {
        let (graph, form) = (self.graph, self.policy.form);
        if !graph.domain(node).is_empty() || self.policy.half.precision(node) != NodePrecision::Fp16 {
            return None;
        }
        let first = || graph.input(node, 0).map(|value| vec![(0, value)]);
        match graph.op_type(node) {
            "Concat" if form.concatenations => {
                let inputs = (0..graph.inputs(node).len()).map(|slot| Some((slot, graph.input(node, slot)?)));
                Some(Carrier { inputs: inputs.collect::<Option<_>>()?, keeps_scale: true })
            }
            "Resize" if form.moves && is_nearest(graph, node) => Some(Carrier { inputs: first()?, keeps_scale: true }),
            op if form.moves && MOVES.contains(&op) => Some(Carrier { inputs: first()?, keeps_scale: true }),
            "AveragePool" | "GlobalAveragePool" if form.averages => {
                Some(Carrier { inputs: first()?, keeps_scale: false })
            }
            _ => None,
        }
    }

    fn is_read_as_integers(&self, value: ValueId) -> bool {
        let Some(tensor) = self.placement.tensors.get(&value) else { return false };
        let reads: HashSet<_> = tensor.reads.iter().copied().collect();
        let value = self.graph.value(value);
        !value.is_output
            && value.consumers.iter().all(|user| match user.slot {
                Slot::Input(slot) => reads.contains(&(user.node, slot)),
                Slot::Capture => false,
            })
    }

    fn read(&mut self, value: ValueId, node: NodeId, slot: usize) {
        self.placement.tensors.entry(value).or_default().reads.insert((node, slot));
    }

    fn say(&mut self, node: NodeId, precision: NodePrecision, reason: String) {
        let row = PrecisionRow {
            node: node_label(self.graph, node),
            operator: self.graph.op_type(node).to_owned(),
            precision,
            reason,
        };
        self.placement.rows.insert(node, row);
    }

    fn finish(mut self) -> Placement {
        let mut numbers: BTreeMap<ValueId, usize> = BTreeMap::new();
        for (&value, tensor) in &mut self.placement.tensors {
            let next = numbers.len();
            let root = self.groups.find(value);
            *tensor = QuantizedTensor {
                group: *numbers.entry(root).or_insert(next),
                reads: std::mem::take(&mut tensor.reads),
            };
        }
        self.placement
    }
}

/// A node without weights that can stay in INT8.
struct Carrier {
    inputs: Vec<(usize, ValueId)>,
    /// Whether its output holds only numbers that its inputs held.
    keeps_scale: bool,
}

fn is_op(graph: &Graph, node: NodeId, op: &str) -> bool {
    graph.domain(node).is_empty() && graph.op_type(node) == op
}

fn is_nearest(graph: &Graph, node: NodeId) -> bool {
    graph.attribute_string(node, "mode").unwrap_or("nearest") == "nearest"
}

fn shape(graph: &Graph, value: ValueId) -> Option<Vec<trtforge_graph::Dimension>> {
    match &graph.value(value).ty {
        Some(ValueType::Tensor(ty)) => ty.shape.clone(),
        _ => None,
    }
}

fn same_shape(graph: &Graph, a: ValueId, b: ValueId) -> bool {
    shape(graph, a).is_some_and(|shape_a| shape(graph, b).is_some_and(|shape_b| shape_a == shape_b))
}

/// Whether the value is a softmax's result, moved about at most.
fn comes_from_softmax(graph: &Graph, value: ValueId) -> bool {
    let mut current = value;
    for _ in 0..8 {
        let Some(node) = graph.producer(current) else { return false };
        match graph.op_type(node) {
            "Softmax" => return true,
            op if MOVES.contains(&op) => match graph.input(node, 0) {
                Some(input) => current = input,
                None => return false,
            },
            _ => return false,
        }
    }
    false
}

/// Why a matrix product is not worth quantizing, if it is not.
fn small_matrix(graph: &Graph, node: NodeId) -> Option<&'static str> {
    if !matches!(graph.op_type(node), "Gemm" | "MatMul") {
        return None;
    }
    let weight = graph.constant(graph.input(node, 1)?)?;
    let sides = weight.shape.get(weight.shape.len().saturating_sub(2)..)?;
    if sides.iter().any(|&side| side < LEAST_MATRIX_SIDE) {
        return Some("a matrix with a side under 16: nothing to gain");
    }
    let rows = shape(graph, graph.input(node, 0)?)?;
    let vector = rows.len() >= 2 && rows[..rows.len() - 1].iter().all(|side| side.fixed() == Some(1));
    (vector && graph.op_type(node) == "MatMul").then_some("a matrix times one vector: nothing to gain")
}
