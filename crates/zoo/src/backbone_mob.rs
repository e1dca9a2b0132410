//! The MobileNet-like backbone of Ns, Nm and Nl: inverted bottlenecks with 5x5 depthwise convolutions and SiLU.

use crate::activation::Activation::Silu;
use crate::backbone_res::pyramid_pooling;
use crate::network::{Convolution, Network, Role, Value};
use crate::variants::MobileStage;

const DEPTHWISE_KERNEL: usize = 5;

/// Adds the backbone and returns the output of every stage.
pub(crate) fn build(network: &mut Network, images: Value, stem: usize, stages: &[MobileStage]) -> Vec<Value> {
    let mut value = network.unit("backbone.stem", images, Convolution::new(stem, 3).stride(2), Silu);
    let mut outputs = Vec::with_capacity(stages.len());
    for (index, stage) in stages.iter().enumerate() {
        let last = index + 1 == stages.len();
        for block in 0..stage.blocks {
            let stride = if block == 0 { stage.stride } else { 1 };
            let name = format!("backbone.stage{}.block{block}", index + 1);
            value = inverted_bottleneck(network, &name, value, stage.width, stride, expansion_halves(index));
            if last && block == 0 {
                value = pyramid_pooling(network, "backbone.spp", value);
            }
        }
        outputs.push(value);
    }
    outputs
}

/// Expand by 1x1, filter each channel by 5x5, project by 1x1; no activation at the end. `expansion_halves` is twice the ratio of the expanded width to `width`.
pub(crate) fn inverted_bottleneck(
    network: &mut Network,
    name: &str,
    input: Value,
    width: usize,
    stride: usize,
    expansion_halves: usize,
) -> Value {
    let expanded = round_to_eight((width * expansion_halves).div_ceil(2));
    let shortcut = stride == 1 && network.shape(input).channels == width;
    let role = if shortcut { Role::Branch } else { Role::Hidden };
    let wide = network.unit(&format!("{name}.expand"), input, Convolution::new(expanded, 1), Silu);
    let filter = Convolution::depthwise(expanded, DEPTHWISE_KERNEL).stride(stride);
    let filtered = network.unit(&format!("{name}.filter"), wide, filter, Silu);
    let projected = network.convolve(&format!("{name}.project"), filtered, Convolution::new(width, 1).role(role));
    if shortcut { network.add(&format!("{name}.add"), projected, input) } else { projected }
}

/// Twice the expansion ratio of a stage: 3.5, 4.0, 4.5, 5.0, 5.5.
fn expansion_halves(stage_index: usize) -> usize {
    7 + stage_index
}

/// Nearest multiple of 8, halves up, at least 8 and never below nine tenths of `width`.
fn round_to_eight(width: usize) -> usize {
    let rounded = ((width + 4) / 8 * 8).max(8);
    if 10 * rounded < 9 * width { rounded + 8 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::round_to_eight;

    #[test]
    fn widths_round_to_eight() {
        let cases = [(1, 8), (11, 16), (12, 16), (60, 64), (84, 88), (19, 24), (18, 24), (120, 120)];
        for (width, expected) in cases {
            assert_eq!(round_to_eight(width), expected, "width {width}");
        }
    }
}
