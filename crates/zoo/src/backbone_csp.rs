//! The cross-stage-partial backbone of M and L: residual blocks with SiLU on half of the channels, ReLU around them.

use crate::activation::Activation::{Relu, Silu};
use crate::backbone_res::{focus_stem, pyramid_pooling};
use crate::network::{Convolution, Network, Role, Value};
use crate::variants::CrossStage;

/// Adds the backbone and returns the output of every stage.
pub(crate) fn build(network: &mut Network, images: Value, stem: usize, stages: &[CrossStage]) -> Vec<Value> {
    let mut value = focus_stem(network, images, stem, Silu);
    let mut outputs = Vec::with_capacity(stages.len());
    for (index, stage) in stages.iter().enumerate() {
        let name = format!("backbone.stage{}", index + 1);
        let down = Convolution::new(stage.width, 3).stride(2);
        value = network.unit(&format!("{name}.down"), value, down, Relu);
        if index + 1 == stages.len() {
            value = pyramid_pooling(network, "backbone.spp", value);
        }
        value = partial_stage(network, &name, value, stage);
        outputs.push(value);
    }
    outputs
}

/// Two 1x1 branches of half the width; the main one goes through the blocks; both are joined by a 1x1 convolution.
fn partial_stage(network: &mut Network, name: &str, input: Value, stage: &CrossStage) -> Value {
    let half = Convolution::new(stage.width / 2, 1);
    let shortcut = network.unit(&format!("{name}.shortcut"), input, half, Relu);
    let mut main = network.unit(&format!("{name}.main"), input, half, Relu);
    for block in 0..stage.blocks {
        main = inner_block(network, &format!("{name}.block{block}"), main, stage.bottleneck);
    }
    let joined = network.concat(&format!("{name}.concat"), vec![main, shortcut]);
    network.unit(&format!("{name}.fuse"), joined, Convolution::new(stage.width, 1), Relu)
}

fn inner_block(network: &mut Network, name: &str, input: Value, bottleneck: usize) -> Value {
    let channels = network.shape(input).channels;
    let hidden = network.unit(&format!("{name}.conv1"), input, Convolution::new(bottleneck, 3), Silu);
    let branch = network.convolve(&format!("{name}.conv2"), hidden, Convolution::new(channels, 3).role(Role::Branch));
    let sum = network.add(&format!("{name}.add"), branch, input);
    network.activate(name, sum, Silu)
}
