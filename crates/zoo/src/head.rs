//! The whole detector: backbone, neck and the two sibling convolutions per level. Decoding is not a part of it.

use crate::network::{Convolution, Network, Role, Value};
use crate::variants::{Architecture, Backbone, Head};
use crate::{backbone_csp, backbone_mob, backbone_res, neck};

/// Classes of the COCO data set.
pub(crate) const CLASSES: usize = 80;
/// Input pixels per cell of the three levels.
pub(crate) const STRIDES: [usize; 3] = [8, 16, 32];
/// Name of the model's input.
pub(crate) const INPUT: &str = "images";

/// The two maps of one level, before the sigmoid and the softmax.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    pub(crate) classes: Value,
    pub(crate) distances: Value,
    pub(crate) stride: usize,
}

/// Describes the network of `architecture` for a square input of `size` pixels.
pub(crate) fn detector(architecture: &Architecture, size: u32) -> (Network, [Level; 3]) {
    let mut network = Network::default();
    let images = network.input(INPUT, size as usize);
    let stages = match &architecture.backbone {
        Backbone::Residual { stem, stages } => backbone_res::build(&mut network, images, *stem, stages),
        Backbone::CrossStage { stem, stages } => backbone_csp::build(&mut network, images, *stem, stages),
        Backbone::Mobile { stem, stages } => backbone_mob::build(&mut network, images, *stem, stages),
    };
    let pyramid = STRIDES.map(|stride| deepest_of(&network, &stages, size as usize / stride));
    let features = neck::build(&mut network, pyramid, &architecture.neck);
    let levels = [0, 1, 2].map(|index| level(&mut network, features[index], STRIDES[index], &architecture.head));
    (network, levels)
}

/// The last stage whose map is `width` cells wide.
fn deepest_of(network: &Network, stages: &[Value], width: usize) -> Value {
    let found = stages.iter().rev().find(|&&stage| network.shape(stage).width == width);
    *found.expect("every table has a stage at strides 8, 16 and 32")
}

fn level(network: &mut Network, feature: Value, stride: usize, head: &Head) -> Level {
    let bins = Role::BinLogits { largest_bin: head.largest_bin };
    let distances = Convolution::new(4 * (head.largest_bin + 1), head.kernel).role(bins);
    let classes = Convolution::new(CLASSES, head.kernel).role(Role::ClassLogits);
    Level {
        distances: network.convolve(&format!("head.reg{stride}"), feature, distances),
        classes: network.convolve(&format!("head.cls{stride}"), feature, classes),
        stride,
    }
}
