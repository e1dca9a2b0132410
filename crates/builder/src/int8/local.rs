//! What the quantization of a tensor costs the nodes that read it, without running the network on it.
//!
//! Quantization adds noise to each channel, and the weights that read a channel carry it on; the weights are rounded as well, which the channel's own size carries on.
//! What reaches the outputs of the readers is the sum of both over the channels. That orders the ways to quantize one tensor, at the price of looking at its elements
//! once. It says nothing of how two tensors compare, which is for trials of the network to find out.

use super::channels::ChannelMap;
use super::plan::Plan;
use super::survey::{ChannelStatistics, Survey};
use super::weights::WeightSlot;
use trtforge_graph::{Graph, NodeId, ValueId};

/// Share of the noise of nearest rounding that rounding for what the weights multiply leaves; see [`super::rounding`].
const LEFT_BY_ROUNDING: f64 = 0.4;

/// The noise that the plan's quantization of these tensors, and of the weights that read them, brings to the outputs of their readers; `None` where nothing was
/// seen of them. Mean errors are not part of it, since the readers' biases take them back.
pub(super) fn noise(graph: &Graph, plan: &Plan, survey: &Survey, tensors: &[ValueId]) -> Option<f64> {
    let of_tensor = |value: &ValueId| {
        let channels = survey.get(value).filter(|channels| !channels.is_empty())?;
        let reads = &plan.placement.tensors.get(value)?.reads;
        let behind = reads.iter().filter_map(|&(node, slot)| behind(graph, plan, *value, channels, (node, slot)));
        let behind: Vec<f64> = behind.collect();
        // What only moves the numbers hands the noise on as it is.
        let before = || channels.iter().map(|channel| channel.noise).sum();
        Some(if behind.is_empty() { before() } else { behind.iter().sum() })
    };
    let found: Vec<f64> = tensors.iter().filter_map(of_tensor).collect();
    (!found.is_empty()).then(|| found.iter().sum())
}

/// The noise at the output of one convolution that reads the tensor.
fn behind(
    graph: &Graph,
    plan: &Plan,
    value: ValueId,
    channels: &[ChannelStatistics],
    (node, slot): (NodeId, usize),
) -> Option<f64> {
    let weight_slot = WeightSlot::of(graph, node).filter(|_| slot == 0)?;
    let weight = graph.constant(graph.input(node, weight_slot.slot)?)?;
    let map = ChannelMap::of(graph, node, &weight).filter(|map| map.inputs == channels.len())?;
    let exact = weight.as_slice::<f32>().ok()?;
    let rounded = plan.quantized_weight(graph, node)?.dequantized();
    let factors = plan.equalizations.get(&value).map(|equalization| &equalization.factors);
    let factor = |input: usize| factors.map_or(1.0, |factors| f64::from(factors[input]));
    let mut noise = 0.0;
    map.for_each(|index, input, _| {
        let (weight, channel) = (f64::from(exact[index]), &channels[input]);
        let rounding = f64::from(rounded[index]) / factor(input) - weight;
        noise += channel.noise * weight * weight + LEFT_BY_ROUNDING * channel.variance * rounding * rounding;
    });
    Some(noise)
}
