//! The pyramid network between backbone and head: five fusions, five down-samplings, two up-samplings.

use crate::backbone_mob::inverted_bottleneck;
use crate::network::{Convolution, Network, Role, Value};
use crate::variants::{Neck, NeckBlock};

/// Twice the expansion ratio of the nano blocks, 3.0.
const NANO_EXPANSION_HALVES: usize = 6;

/// Adds the neck to the backbone levels of strides 8, 16, 32 and returns its own levels.
pub(crate) fn build(network: &mut Network, [c3, c4, c5]: [Value; 3], neck: &Neck) -> [Value; 3] {
    let width_of = |network: &Network, value: Value| network.shape(value).channels;
    let (width4, width5) = (width_of(network, c4), width_of(network, c5));

    let down = down_sample(network, "neck.down_c4", c4, neck);
    let p5 = fuse(network, "neck.fuse_p5", vec![c5, down], width5, neck);

    let down = down_sample(network, "neck.down_c3", c3, neck);
    let up = network.upsample("neck.up_p5", p5);
    let p4 = fuse(network, "neck.fuse_p4", vec![c4, down, up], width4, neck);

    let up = network.upsample("neck.up_p4", p4);
    let o8 = fuse(network, "neck.fuse_o8", vec![c3, up], neck.widths[0], neck);

    let down = down_sample(network, "neck.down_o8", o8, neck);
    let o16 = fuse(network, "neck.fuse_o16", vec![p4, down], neck.widths[1], neck);

    let down_p4 = down_sample(network, "neck.down_p4", p4, neck);
    let down_o16 = down_sample(network, "neck.down_o16", o16, neck);
    let o32 = fuse(network, "neck.fuse_o32", vec![p5, down_p4, down_o16], neck.widths[2], neck);
    [o8, o16, o32]
}

fn down_sample(network: &mut Network, name: &str, input: Value, neck: &Neck) -> Value {
    let channels = network.shape(input).channels;
    match neck.block {
        NeckBlock::Plain { .. } => network.unit(name, input, Convolution::new(channels, 3).stride(2), neck.activation),
        NeckBlock::Mobile => {
            let filter = Convolution::depthwise(channels, 3).stride(2);
            let filtered = network.unit(&format!("{name}.depthwise"), input, filter, neck.activation);
            network.unit(&format!("{name}.pointwise"), filtered, Convolution::new(channels, 1), neck.activation)
        }
    }
}

/// Joins the inputs, then: one 1x1 branch as it is, one through the blocks, every block's output and the first branch joined by a 1x1 convolution.
fn fuse(network: &mut Network, name: &str, inputs: Vec<Value>, width: usize, neck: &Neck) -> Value {
    let half = Convolution::new(width / 2, 1);
    let joined = network.concat(&format!("{name}.inputs"), inputs);
    let direct = network.unit(&format!("{name}.conv1"), joined, half, neck.activation);
    let mut value = network.unit(&format!("{name}.conv2"), joined, half, neck.activation);
    let mut parts = vec![direct];
    for index in 0..neck.blocks {
        value = block(network, &format!("{name}.block{index}"), value, neck);
        parts.push(value);
    }
    let parts = network.concat(&format!("{name}.concat"), parts);
    network.unit(&format!("{name}.conv3"), parts, Convolution::new(width, 1), neck.activation)
}

/// Two convolutions with a shortcut and no activation after the sum.
fn block(network: &mut Network, name: &str, input: Value, neck: &Neck) -> Value {
    let channels = network.shape(input).channels;
    let (numerator, denominator) = match neck.block {
        NeckBlock::Plain { numerator, denominator } => (numerator, denominator),
        NeckBlock::Mobile => return inverted_bottleneck(network, name, input, channels, 1, NANO_EXPANSION_HALVES),
    };
    let hidden = Convolution::new(channels * numerator / denominator, 3);
    let hidden = network.unit(&format!("{name}.conv1"), input, hidden, neck.activation);
    let outer = Convolution::new(channels, 3).role(Role::Branch);
    let branch = network.unit(&format!("{name}.conv2"), hidden, outer, neck.activation);
    network.add(&format!("{name}.add"), branch, input)
}
