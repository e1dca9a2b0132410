//! Small convolutional networks, and what is decided about them.

use crate::small_model::{SmallModel, numbers};
use std::collections::{BTreeSet, HashMap};
use trtforge_builder::int8::{Form, Int8Policy, Placement, Plan};
use trtforge_builder::precision::{HALF_MAX, HalfPolicy};
use trtforge_builder::{Keep, PrecisionRow, PrecisionTable};
use trtforge_graph::{ElementType, Graph, NodeId, Tensor, ValueId, construct};

/// A network of one image `x`, 16 channels of 8x8.
pub fn network() -> SmallModel {
    SmallModel::new(19).input("x", &[1, 16, 8, 8])
}

/// An output of 16 channels of 8x8.
pub fn output(model: SmallModel, name: &str) -> SmallModel {
    model.output(name, ElementType::Float32, &[1, 16, 8, 8])
}

/// Weights around zero, different for every name.
pub fn weights(name: &str, shape: &[u64]) -> Vec<f32> {
    let seed = name.bytes().fold(17u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let fan_in = shape[1..].iter().product::<u64>() as f32;
    let count = shape.iter().product::<u64>();
    let next =
        |index: u64| (index.wrapping_add(1).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32;
    (0..count).map(|index| (next(index) / (1u64 << 23) as f32 - 1.0) * 2.0 / fan_in.sqrt()).collect()
}

/// A 3x3 convolution of 16 channels named `to`, padded, with a bias.
pub fn conv(model: SmallModel, from: &str, to: &str) -> SmallModel {
    let (weight, bias) = (format!("{to}.weight"), format!("{to}.bias"));
    model
        .constant(&weight, &[16, 16, 3, 3], weights(&weight, &[16, 16, 3, 3]))
        .constant(&bias, &[16], weights(&bias, &[16, 1]))
        .node(construct::node("Conv", to, [from, &weight, &bias], [to]).attr_ints("pads", [1, 1, 1, 1]))
}

/// What the half-precision policy says of a graph.
pub fn half(graph: &Graph) -> PrecisionTable {
    HalfPolicy { ranges: None, limit: HALF_MAX, keep: &[] }.decide(graph)
}

/// A graph and where its quantization goes.
pub struct Placed {
    pub graph: Graph,
    pub placement: Placement,
}

impl Placed {
    /// With everything that the full form quantizes.
    pub fn new(graph: Graph) -> Placed {
        Placed::with(graph, &[], &HashMap::new(), Form::FULL)
    }

    pub fn with(graph: Graph, keep: &[Keep], excluded_tensors: &HashMap<ValueId, String>, form: Form) -> Placed {
        let half = half(&graph);
        let excluded = HashMap::new();
        let policy = Int8Policy { half: &half, keep, excluded: &excluded, excluded_tensors, form };
        let placement = policy.place(&graph);
        Placed { graph, placement }
    }

    /// Names of the quantized tensors.
    pub fn tensors(&self) -> BTreeSet<&str> {
        self.placement.tensors.keys().map(|&value| self.graph.value(value).name.as_str()).collect()
    }

    /// Names of the nodes that read a tensor's integers.
    pub fn readers(&self, tensor: &str) -> BTreeSet<String> {
        let value = self.graph.value_id(tensor).unwrap();
        let reads = self.placement.tensors.get(&value).map(|tensor| tensor.reads.clone()).unwrap_or_default();
        reads.into_iter().map(|(node, _)| self.graph.node_name(node)).collect()
    }

    pub fn group(&self, tensor: &str) -> usize {
        self.placement.tensors[&self.graph.value_id(tensor).unwrap()].group
    }

    pub fn node(&self, name: &str) -> NodeId {
        self.graph.node_ids().find(|&node| self.graph.node_name(node) == name).unwrap()
    }

    pub fn row(&self, name: &str) -> &PrecisionRow {
        &self.placement.rows[&self.node(name)]
    }

    /// A plan with one scale for every tensor.
    pub fn plan(&self, scale: f32) -> Plan {
        let scales = self.placement.tensors.keys().map(|&value| (value, scale)).collect();
        Plan { placement: self.placement.clone(), scales, ..Plan::default() }
    }
}

/// An image for [`network`].
pub fn image() -> Tensor {
    numbers(&[1, 16, 8, 8])
}
