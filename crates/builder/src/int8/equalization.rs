//! Equalisation: gives the channels of a tensor one size before they share one scale.
//!
//! Each channel is divided by a factor and the weights that read it are multiplied by the same factor: the network computes the same, and no channel drowns in another's
//! scale. It is what a depthwise convolution wants, whose output channel sees nothing but its own input channel. The division is a multiplication that belongs to the
//! activation function before it; behind a convolution with nothing or a homogeneous function in between it disappears in that convolution's weights
//! (`passes::fold_channel_scales`).

use super::plan::Plan;
use super::survey::ChannelStatistics;
use super::{channels::ChannelMap, placement::QuantizedTensor};
use trtforge_graph::{Graph, ValueId};

/// Factors never differ by more than this: a nearly dead channel must not be blown up.
const WIDEST: f32 = 1024.0;

/// What is done to the channels of a tensor before it is quantized: `(x - offset) / factor`.
#[derive(Clone, Debug, PartialEq)]
pub struct Equalization {
    /// Divisor of each channel.
    pub factors: Vec<f32>,
    /// What is subtracted from each channel; all zeros where a reader pads its input, whose zeros would be shifted as well.
    pub offsets: Vec<f32>,
}

impl Equalization {
    /// Factor and offset of one channel.
    pub fn channel(&self, index: usize) -> (f32, f32) {
        (self.factors.get(index).copied().unwrap_or(1.0), self.offsets.get(index).copied().unwrap_or(0.0))
    }

    /// Moves a whole tensor so that `[min, threshold]` lies around zero. What a ReLU or SiLU writes is nearly all on one side, and without this half of the integers would
    /// never be used. Returns the threshold of the moved tensor as well.
    pub fn centre(channels: &[ChannelStatistics], threshold: f32) -> (Equalization, f32) {
        let min = channels.iter().fold(0f32, |min, channel| min.min(channel.min)).max(-threshold);
        let max = channels.iter().fold(0f32, |max, channel| max.max(channel.max)).min(threshold);
        let (offset, half) = ((max + min) / 2.0, (max - min) / 2.0);
        (Equalization { factors: vec![1.0; channels.len()], offsets: vec![offset; channels.len()] }, half)
    }

    /// Gives the channels of a tensor one size, and one centre where `shift` is set. Returns the threshold of the equalised tensor as well.
    ///
    /// A factor is `size^strength / rms^(1 - strength)`, scaled to lie around 1: with strength 1 all channels become equally large, with less of it a channel whose weights
    /// are large keeps more of its size, so that the weights do not suffer for it (Xiao et al., SmoothQuant, 2023). What `clip` leaves of a channel's range, from 0 to 1,
    /// is cut off at the end that lies farther from the mean.
    pub fn of(
        channels: &[ChannelStatistics],
        weight_rms: &[f32],
        strength: f32,
        clip: f32,
        shift: bool,
    ) -> Option<(Equalization, f32)> {
        let placed: Vec<(f32, f32)> = channels.iter().map(|channel| channel.place(clip, shift)).collect();
        let largest = placed.iter().fold(0f32, |largest, (size, _)| largest.max(*size));
        if channels.len() < 2 || largest <= 0.0 || !largest.is_finite() || weight_rms.len() != channels.len() {
            return None;
        }
        let heaviest = weight_rms.iter().fold(0f32, |heaviest, &rms| heaviest.max(rms)).max(f32::MIN_POSITIVE);
        let weigh = |((size, _), &rms): (&(f32, f32), &f32)| {
            let (size, rms) = (size.max(largest / WIDEST), rms.max(heaviest / WIDEST));
            size.powf(strength) / rms.powf(1.0 - strength)
        };
        let weighed: Vec<f32> = placed.iter().zip(weight_rms).map(weigh).collect();
        let mean = (weighed.iter().map(|size| f64::from(size.ln())).sum::<f64>() / weighed.len() as f64).exp() as f32;
        let factors: Vec<f32> = weighed.iter().map(|size| size / mean).collect();
        let threshold = placed.iter().zip(&factors).fold(0f32, |t, ((size, _), factor)| t.max(size / factor));
        let offsets = placed.iter().map(|(_, offset)| *offset).collect();
        Some((Equalization { factors, offsets }, threshold))
    }
}

impl ChannelStatistics {
    /// Size and centre of a channel whose range is clipped to a part of it.
    fn place(&self, clip: f32, shift: bool) -> (f32, f32) {
        if !shift {
            return (clip * self.max.max(-self.min), 0.0);
        }
        let size = clip * (self.max - self.min) / 2.0;
        let longer_above = f64::from(self.max) - self.mean >= self.mean - f64::from(self.min);
        (size, if longer_above { self.min + size } else { self.max - size })
    }
}

/// Whether the channels of a tensor may be shifted: no reader pads it, and every reader has a bias that takes the shift back, or can get one.
pub fn can_shift(graph: &Graph, tensor: &QuantizedTensor) -> bool {
    tensor.reads.iter().all(|&(node, _)| {
        let unpadded = graph.attribute_ints(node, "pads").is_none_or(|pads| pads.iter().all(|&pad| pad == 0));
        let automatic = graph.attribute_string(node, "auto_pad").is_some_and(|pad| !matches!(pad, "NOTSET" | "VALID"));
        let bias = graph.input(node, 2).is_none_or(|bias| graph.constant(bias).is_some());
        graph.op_type(node) == "Conv" && unpadded && !automatic && bias
    })
}

/// How large the weights are that read each channel of a tensor: root mean square over all readers. Also whether every reader is depthwise, so that each of its output
/// channels has a scale of its own and strength 1 costs the weights nothing.
pub fn weight_rms(graph: &Graph, tensor: &QuantizedTensor, channels: usize) -> Option<(Vec<f32>, bool)> {
    let (mut squares, mut counts, mut depthwise) = (vec![0f64; channels], vec![0u64; channels], true);
    for &(node, _) in &tensor.reads {
        let weight = graph.constant(graph.input(node, 1)?)?;
        let map = ChannelMap::of(graph, node, &weight).filter(|map| map.inputs == channels)?;
        let values = weight.as_slice::<f32>().ok()?;
        depthwise &= map.is_depthwise();
        map.for_each(|index, input, _| {
            squares[input] += f64::from(values[index]) * f64::from(values[index]);
            counts[input] += 1;
        });
    }
    let rms = squares.iter().zip(&counts).map(|(sum, &count)| (sum / count.max(1) as f64).sqrt() as f32).collect();
    Some((rms, depthwise))
}

/// Whether a quantized tensor can be equalised: everything that reads its integers is a convolution with constant weights over its channels.
pub fn can_equalize(graph: &Graph, plan: &Plan, value: ValueId, tensor: &QuantizedTensor, channels: usize) -> bool {
    let alone = plan.placement.tensors.values().filter(|other| other.group == tensor.group).count() == 1;
    alone
        && !graph.graph_inputs().contains(&value)
        && tensor.reads.iter().all(|&(node, slot)| {
            let weight = graph.input(node, 1).and_then(|weight| graph.constant(weight));
            let map = weight.and_then(|weight| ChannelMap::of(graph, node, &weight));
            slot == 0 && map.is_some_and(|map| map.inputs == channels)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(amax: f32) -> ChannelStatistics {
        ChannelStatistics { max: amax, ..ChannelStatistics::default() }
    }

    #[test]
    fn equalised_channels_reach_the_threshold() {
        let (found, threshold) =
            Equalization::of(&[channel(1.0), channel(16.0)], &[1.0, 1.0], 1.0, 1.0, false).unwrap();
        let factors = found.factors;
        assert!((1.0 / factors[0] - threshold).abs() < 1e-5 && (16.0 / factors[1] - threshold).abs() < 1e-5);
        assert!((factors[0] * factors[1] - 1.0).abs() < 1e-5 && found.offsets == [0.0, 0.0]);
    }

    #[test]
    fn a_shift_centres_each_channel() {
        let one_sided = ChannelStatistics { min: -0.25, max: 7.75, ..ChannelStatistics::default() };
        let (found, threshold) = Equalization::of(&[one_sided, one_sided], &[1.0, 1.0], 1.0, 1.0, true).unwrap();
        assert_eq!((found.offsets[0], threshold), (3.75, 4.0));
        let (found, threshold) = Equalization::centre(&[one_sided, channel(1.0)], 3.75);
        assert_eq!((found.offsets[1], threshold), (1.75, 2.0));
    }

    #[test]
    fn dead_channels_are_not_blown_up() {
        let (found, _) = Equalization::of(&[channel(0.0), channel(1.0)], &[1.0, 1.0], 1.0, 1.0, false).unwrap();
        assert!(found.factors[1] / found.factors[0] <= WIDEST * 1.001);
        assert!(Equalization::of(&[channel(0.0), channel(0.0)], &[1.0, 1.0], 1.0, 1.0, false).is_none());
    }
}
