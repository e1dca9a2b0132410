//! Weights as signed 8-bit integers with one scale per output channel.
//!
//! Symmetric, round half to even, `[-127, 127]`: what TensorRT computes with. A scale is rounded up to a half-precision number before the weights are divided by it,
//! so the same integers and the same scales serve a network whose remainder is half precision.

use crate::calibration::half_scale;
use trtforge_graph::{Graph, NodeId, Tensor};

/// Which input of a node is its weight, and along which axis the output channels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightSlot {
    /// Input slot of the weight.
    pub slot: usize,
    /// Axis of the output channels; `None` for one scale for all.
    pub axis: Option<usize>,
}

/// A weight in 8 bits.
#[derive(Clone, Debug)]
pub struct QuantizedWeight {
    /// The integers, of the weight's own shape.
    pub values: Tensor,
    /// The scales: one, or one per output channel.
    pub scales: Vec<f32>,
    /// The axis that the scales run along.
    pub axis: Option<usize>,
}

impl WeightSlot {
    /// The weight of a node that TensorRT runs in INT8, or `None` where the node has no constant 32-bit weight of a usable shape.
    pub fn of(graph: &Graph, node: NodeId) -> Option<WeightSlot> {
        let rank = graph.constant(graph.input(node, 1)?)?.shape.len();
        let axis = match graph.op_type(node) {
            "Conv" if rank >= 3 => Some(0),
            "ConvTranspose" if rank >= 3 => Some(1),
            "Gemm" if rank == 2 => Some(if graph.attribute_int(node, "transB").unwrap_or(0) != 0 { 0 } else { 1 }),
            "MatMul" if rank == 2 => Some(1),
            "MatMul" if rank > 2 => None,
            _ => return None,
        };
        Some(WeightSlot { slot: 1, axis })
    }
}

impl QuantizedWeight {
    /// Quantizes a 32-bit weight. A channel of zeros gets the least scale.
    pub fn new(weight: &Tensor, axis: Option<usize>) -> Option<QuantizedWeight> {
        let values = weight.as_slice::<f32>().ok()?;
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let layout = Layout::of(&weight.shape, axis);
        let mut amax = vec![0f32; layout.channels];
        layout.for_each(values.len(), |index, channel| amax[channel] = amax[channel].max(values[index].abs()));
        let scales: Vec<f32> = amax.into_iter().map(|amax| half_scale(amax / 127.0)).collect();
        let mut integers = vec![0i8; values.len()];
        layout.for_each(values.len(), |index, channel| integers[index] = quantize(values[index], scales[channel]));
        let values = Tensor::from_vec(weight.shape.clone(), integers).ok()?;
        Some(QuantizedWeight { values, scales, axis })
    }

    /// The numbers that the integers stand for.
    pub fn dequantized(&self) -> Vec<f32> {
        let integers = self.values.as_slice::<i8>().unwrap_or_default();
        let layout = Layout::of(&self.values.shape, self.axis);
        let mut values = vec![0f32; integers.len()];
        layout.for_each(integers.len(), |index, channel| {
            values[index] = f32::from(integers[index]) * self.scales[channel]
        });
        values
    }
}

/// The integer nearest to `value / scale`, halves to even, within `[-127, 127]`.
pub fn quantize(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// How channels lie in a row-major tensor.
struct Layout {
    channels: usize,
    inner: usize,
}

impl Layout {
    fn of(shape: &[u64], axis: Option<usize>) -> Layout {
        match axis.filter(|&axis| axis < shape.len()) {
            Some(axis) => Layout {
                channels: (shape[axis] as usize).max(1),
                inner: shape[axis + 1..].iter().product::<u64>().max(1) as usize,
            },
            None => Layout { channels: 1, inner: 1 },
        }
    }

    fn for_each(&self, length: usize, mut visit: impl FnMut(usize, usize)) {
        for (run, start) in (0..length).step_by(self.inner).enumerate() {
            for index in start..(start + self.inner).min(length) {
                visit(index, run % self.channels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_channel_has_its_scale() {
        let weight = Tensor::from_vec(vec![2, 1, 2], vec![1.0f32, -2.0, 100.0, 25.0]).unwrap();
        let quantized = QuantizedWeight::new(&weight, Some(0)).unwrap();
        assert_eq!(quantized.values.as_slice::<i8>().unwrap()[1], -127);
        assert_eq!(quantized.values.as_slice::<i8>().unwrap()[2], 127);
        assert!(quantized.scales[1] > 40.0 * quantized.scales[0]);
    }

    #[test]
    fn the_axis_of_a_transposed_convolution_is_the_second() {
        let weight = Tensor::from_vec(vec![2, 2, 1, 1], vec![1.0f32, 10.0, 2.0, 20.0]).unwrap();
        let quantized = QuantizedWeight::new(&weight, Some(1)).unwrap();
        assert_eq!(quantized.scales, [half_scale(2.0 / 127.0), half_scale(20.0 / 127.0)]);
    }

    #[test]
    fn dead_channels_and_bad_numbers() {
        let dead = Tensor::from_vec(vec![1, 2], vec![0.0f32, 0.0]).unwrap();
        assert!(QuantizedWeight::new(&dead, Some(0)).unwrap().scales[0] > 0.0);
        let bad = Tensor::from_vec(vec![1, 2], vec![f32::NAN, 0.0]).unwrap();
        assert!(QuantizedWeight::new(&bad, Some(0)).is_none());
    }

    proptest! {
        #[test]
        fn no_weight_is_off_by_more_than_half_a_step(
            values in proptest::collection::vec(-8.0f32..8.0, 24),
            axis in proptest::option::of(0usize..3),
        ) {
            let weight = Tensor::from_vec(vec![2, 3, 4], values.clone()).unwrap();
            let quantized = QuantizedWeight::new(&weight, axis).unwrap();
            let largest = quantized.scales.iter().fold(0f32, |a, &b| a.max(b));
            for (a, b) in values.iter().zip(quantized.dequantized()) {
                prop_assert!((a - b).abs() <= largest * 0.5001);
            }
        }
    }
}
