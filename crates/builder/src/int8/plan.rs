//! Everything that turns one FP32 network into one quantized network: where quantization goes, the scales, and the repairs that make it cost less.

use super::channels::{ChannelMap, scale_inputs};
use super::equalization::Equalization;
use super::placement::Placement;
use super::rounding::Rounded;
use super::weights::{QuantizedWeight, WeightSlot};
use crate::Result;
use crate::passes::{InsertQuantization, Inserted, WeightForm};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use trtforge_graph::{Graph, NodeId, Tensor, ValueId};

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
    /// Weights that were rounded for what they multiply; others go to their nearest integers.
    pub rounded: BTreeMap<NodeId, Arc<Rounded>>,
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

    /// The weight of a node in 8 bits, multiplied by the factors of the tensor that the node reads. `None` where it has no usable weight.
    pub fn quantized_weight(&self, graph: &Graph, node: NodeId) -> Option<QuantizedWeight> {
        let (factors, weight, axis) = self.equalized_weight(graph, node)?;
        match self.rounded.get(&node).filter(|rounded| rounded.factors == factors) {
            Some(rounded) => Some(rounded.weight.clone()),
            None => QuantizedWeight::new(&weight, axis),
        }
    }

    /// The factors of what a node reads, its weight multiplied by them, and the axis of its output channels.
    pub(super) fn equalized_weight(
        &self,
        graph: &Graph,
        node: NodeId,
    ) -> Option<(Option<Vec<f32>>, Tensor, Option<usize>)> {
        let slot = WeightSlot::of(graph, node)?;
        let weight = graph.constant(graph.input(node, slot.slot)?)?;
        let equalization = graph.input(node, 0).and_then(|value| self.equalizations.get(&value));
        let factors = equalization.map(|equalization| equalization.factors.clone());
        let weight = match &factors {
            Some(factors) => scale_inputs(&weight, &ChannelMap::of(graph, node, &weight)?, factors)?,
            None => weight,
        };
        Some((factors, weight, slot.axis))
    }

    /// Writes the plan into the graph that it was made for.
    ///
    /// # Errors
    /// [`crate::Error::Pass`] where the graph refuses; [`crate::Error::NoScale`] where a tensor or a weight has no usable scale.
    pub fn apply(&self, graph: &mut Graph, weights: WeightForm) -> Result<Inserted> {
        InsertQuantization { plan: self, weights }.apply(graph)
    }
}
