//! Everything that turns one FP32 network into one quantized network: where quantization goes, the scales, and the repairs that make it cost less.

use super::equalization::Equalization;
use super::placement::Placement;
use crate::Result;
use crate::passes::{InsertQuantization, Inserted, WeightForm};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::{Graph, NodeId, ValueId};

/// A quantized form of a network.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where quantization goes.
    pub placement: Placement,
    /// The scale of every tensor of the placement.
    pub scales: HashMap<ValueId, f32>,
    /// Tensors whose channels are brought to one size and centre before they are quantized.
    pub equalizations: BTreeMap<ValueId, Equalization>,
    /// What is added to the bias of nodes, per output channel.
    pub corrections: BTreeMap<NodeId, Vec<f32>>,
}

impl Plan {
    /// The plan in which only `tensors` are quantized, and no weight.
    pub fn only(&self, tensors: &[ValueId]) -> Plan {
        let mut plan = self.clone();
        plan.placement.tensors.retain(|value, _| tensors.contains(value));
        plan.placement.weights.clear();
        plan.equalizations.retain(|value, _| tensors.contains(value));
        plan.corrections.clear();
        plan
    }

    /// Writes the plan into the graph that it was made for.
    ///
    /// # Errors
    /// [`crate::Error::Pass`] where the graph refuses; [`crate::Error::NoScale`] where a tensor or a weight has no usable scale.
    pub fn apply(&self, graph: &mut Graph, weights: WeightForm) -> Result<Inserted> {
        InsertQuantization { plan: self, weights }.apply(graph)
    }
}
