//! Where quantization goes, as data: which tensors get a pair of QuantizeLinear and DequantizeLinear, who reads behind it, which weights become integers.
//!
//! Decided by the policy, applied by `passes::insert_quantization`, judged by the accuracy search. Nothing here changes a graph.

use super::weights::WeightSlot;
use crate::precision::PrecisionRow;
use std::collections::{BTreeMap, BTreeSet};
use trtforge_graph::{NodeId, ValueId};

/// An input slot of a node.
pub type Read = (NodeId, usize);

/// A tensor that is quantized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuantizedTensor {
    /// The slots that read its dequantized form; all others read the tensor itself.
    pub reads: BTreeSet<Read>,
    /// Tensors of one group share one scale.
    pub group: usize,
}

/// Where quantization goes in one graph.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The tensors that are quantized.
    pub tensors: BTreeMap<ValueId, QuantizedTensor>,
    /// The nodes whose weights become integers.
    pub weights: BTreeMap<NodeId, WeightSlot>,
    /// What is said of every node that computes in INT8, or could and does not.
    pub rows: BTreeMap<NodeId, PrecisionRow>,
}

impl Placement {
    /// Whether nothing is quantized.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensors of each group, in the order of their first member.
    pub fn groups(&self) -> Vec<Vec<ValueId>> {
        let mut by_group: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
        for (&value, tensor) in &self.tensors {
            by_group.entry(tensor.group).or_default().push(value);
        }
        let mut groups: Vec<Vec<ValueId>> = by_group.into_values().collect();
        groups.sort();
        groups
    }
}
