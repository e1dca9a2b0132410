//! The ResNet-like backbone of T and S: bottleneck blocks with ReLU.

use crate::activation::Activation::{self, Relu};
use crate::network::{Convolution, Network, Role, Value};
use crate::variants::ResidualStage;

/// Adds the backbone and returns the output of every stage.
pub(crate) fn build(network: &mut Network, images: Value, stem: usize, stages: &[ResidualStage]) -> Vec<Value> {
    let mut value = focus_stem(network, images, stem, Relu);
    let mut outputs = Vec::with_capacity(stages.len());
    for (index, stage) in stages.iter().enumerate() {
        let last = index + 1 == stages.len();
        for block in 0..stage.blocks {
            let stride = if block == 0 { stage.stride } else { 1 };
            let name = format!("backbone.stage{}.block{block}", index + 1);
            value = residual_block(network, &name, value, stage, stride);
            if last && block == 0 {
                value = pyramid_pooling(network, "backbone.spp", value);
            }
        }
        outputs.push(value);
    }
    outputs
}

/// Space to depth, then a 3x3 convolution.
pub(crate) fn focus_stem(network: &mut Network, images: Value, width: usize, activation: Activation) -> Value {
    let blocks = network.space_to_depth("backbone.focus", images);
    network.unit("backbone.stem", blocks, Convolution::new(width, 3), activation)
}

/// Spatial pyramid pooling: a 1x1 convolution to half the channels, its maxima over 5, 9 and 13 pixels beside it, and a 1x1 convolution back.
/// SiLU even where the rest of the network has ReLU.
pub(crate) fn pyramid_pooling(network: &mut Network, name: &str, input: Value) -> Value {
    let channels = network.shape(input).channels;
    let squeezed = network.unit(&format!("{name}.conv1"), input, Convolution::new(channels / 2, 1), Activation::Silu);
    let mut parts = vec![squeezed];
    for kernel in [5, 9, 13] {
        parts.push(network.max_pool(&format!("{name}.pool{kernel}"), squeezed, kernel));
    }
    let joined = network.concat(&format!("{name}.concat"), parts);
    network.unit(&format!("{name}.conv2"), joined, Convolution::new(channels, 1), Activation::Silu)
}

/// A block that changes the size has no shortcut at all.
fn residual_block(network: &mut Network, name: &str, input: Value, stage: &ResidualStage, stride: usize) -> Value {
    let shortcut = stride == 1;
    let role = if shortcut { Role::Branch } else { Role::Hidden };
    let narrow = network.unit(&format!("{name}.conv1"), input, Convolution::new(stage.bottleneck, 1), Relu);
    let wide = Convolution::new(stage.width, 3).stride(stride).role(role);
    let branch = network.convolve(&format!("{name}.conv2"), narrow, wide);
    let sum = if shortcut { network.add(&format!("{name}.add"), branch, input) } else { branch };
    network.activate(name, sum, Relu)
}
