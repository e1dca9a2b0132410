//! Bias correction: takes back the mean error that quantization leaves in each output channel of a convolution.
//!
//! With x the data, W the weight and hats for their quantized forms, a channel is off by `W mean(x) - What mean(xhat)` in the mean; that goes into the bias, which costs nothing.
//! The means are those of the 32-bit network: each layer is corrected for its own error only (Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
//! Correction, 2019). Correcting all layers at once against the quantized network diverges on small detectors. Padding is looked past.

use super::channels::ChannelMap;
use super::plan::Plan;
use super::survey::Survey;
use super::weights::WeightSlot;
use std::collections::{BTreeMap, BTreeSet};
use trtforge_graph::{Graph, NodeId};

/// The correction of every convolution that reads quantized data, for its weights as the plan has them: quantized or not.
pub fn corrections(graph: &Graph, plan: &Plan, survey: &Survey) -> BTreeMap<NodeId, Vec<f32>> {
    let reads = plan.placement.tensors.values().flat_map(|tensor| &tensor.reads);
    let nodes: BTreeSet<NodeId> = reads.filter(|(_, slot)| *slot == 0).map(|(node, _)| *node).collect();
    nodes.into_iter().filter_map(|node| Some((node, correction(graph, plan, survey, node)?))).collect()
}

fn correction(graph: &Graph, plan: &Plan, survey: &Survey, node: NodeId) -> Option<Vec<f32>> {
    let slot = WeightSlot::of(graph, node)?;
    let bias_is_constant = graph.input(node, 2).is_none_or(|bias| graph.constant(bias).is_some());
    let weight = graph.constant(graph.input(node, slot.slot)?)?;
    let map = ChannelMap::of(graph, node, &weight).filter(|_| bias_is_constant)?;
    let value = graph.input(node, 0)?;
    let channels = survey.get(&value).filter(|channels| channels.len() == map.inputs)?;
    let used = match plan.placement.weights.contains_key(&node) {
        true => plan.quantized_weight(graph, node)?.dequantized(),
        false => plan.equalized_weight(graph, node)?.1.to_vec_f32().ok()?,
    };
    let exact = weight.as_slice::<f32>().ok()?;
    let mut correction = vec![0f64; map.outputs];
    map.for_each(|index, input, output| {
        let channel = &channels[input];
        correction[output] += f64::from(exact[index]) * channel.mean - f64::from(used[index]) * channel.quantized_mean;
    });
    Some(correction.into_iter().map(|value| value as f32).collect())
}
