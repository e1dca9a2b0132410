//! Random weights with settled statistics: what batch normalisation does while a network trains, done once, layer by layer, on painted scenes.
//!
//! Each convolution is drawn, run at low resolution on what the layers before it made of the scenes, and then scaled and shifted per channel so that its
//! output has the centre and width its role asks for. Following layers see the settled output, so nothing vanishes or explodes with depth, and the head
//! gives scores and distances in a believable range. The size of the model's real input plays no part: the weights depend on the architecture and the seed.

use rayon::prelude::*;

use crate::convolution::{self, Maps};
use crate::head;
use crate::network::{Convolution, Layer, Network, Operation, Role};
use crate::scene;
use crate::variants::Architecture;
use crate::weights::{Noise, Weights};

/// Side of the pictures that settle the weights; stride 32 leaves 2 x 2 cells of them.
const SCENE_SIZE: u32 = 64;
/// Many small pictures settle better than a few large ones: what matters at the deepest levels is how many differ.
const SCENES: usize = 8;
/// A channel quieter than this share of its layer is not made louder than the share allows.
const QUIETEST_CHANNEL: f64 = 0.7;
/// Root mean square of hidden layers before their bias. Well above 1, where SiLU acts like ReLU: smaller values let differences between inputs grow
/// from layer to layer.
const LOUDNESS: f32 = 3.0;
/// Loudness of what is added to a shortcut, so that long chains of blocks stay close to their input.
const BRANCH_LOUDNESS: f32 = 0.9;

/// Draws and settles the weights of every convolution, in layer order.
pub(crate) fn settle(architecture: &Architecture, seed: u64) -> Vec<Weights> {
    let (network, _) = head::detector(architecture, SCENE_SIZE);
    let last_uses = last_uses(&network);
    let mut values: Vec<Option<Maps>> = Vec::with_capacity(network.layers().len());
    let mut weights = Vec::new();
    for (index, layer) in network.layers().iter().enumerate() {
        let inputs: Vec<&Maps> =
            layer.inputs.iter().map(|input| values[input.index()].as_ref().expect("kept until its last use")).collect();
        let output = match layer.operation {
            Operation::Convolution(convolution) => {
                let (output, settled) = settle_layer(inputs[0], &convolution, Noise::new(seed, weights.len() as u64));
                weights.push(settled);
                output
            }
            _ => run(layer, &inputs),
        };
        values.push(Some(output));
        for input in &layer.inputs {
            if last_uses[input.index()] == index {
                values[input.index()] = None;
            }
        }
    }
    weights
}

/// For every layer, the last layer that reads it.
fn last_uses(network: &Network) -> Vec<usize> {
    let mut last = vec![0; network.layers().len()];
    for (index, layer) in network.layers().iter().enumerate() {
        layer.inputs.iter().for_each(|input| last[input.index()] = index);
    }
    last
}

fn run(layer: &Layer, inputs: &[&Maps]) -> Maps {
    match layer.operation {
        Operation::Input => scene::paint(SCENES, layer.shape.width),
        Operation::SpaceToDepth => convolution::space_to_depth(inputs[0]),
        Operation::Convolution(_) => unreachable!("settled, not run"),
        Operation::Activation(activation) => {
            let mut maps = inputs[0].clone();
            activation.apply(&mut maps.data);
            maps
        }
        Operation::Add => sum(inputs[0], inputs[1]),
        Operation::Concat => concat(inputs),
        Operation::MaxPool { kernel } => convolution::max_pool(inputs[0], kernel),
        Operation::Upsample => convolution::upsample(inputs[0]),
    }
}

fn sum(left: &Maps, right: &Maps) -> Maps {
    let mut maps = left.clone();
    maps.data.iter_mut().zip(&right.data).for_each(|(sum, value)| *sum += value);
    maps
}

fn concat(inputs: &[&Maps]) -> Maps {
    let channels = inputs.iter().map(|maps| maps.channels).sum();
    let data = inputs.iter().flat_map(|maps| maps.data.iter().copied()).collect();
    Maps { channels, data, ..*inputs[0] }
}

/// Draws a kernel, runs it and settles both the kernel and what came out.
fn settle_layer(input: &Maps, convolution: &Convolution, mut noise: Noise) -> (Maps, Weights) {
    let fan_in = convolution.fan_in(input.channels);
    let mut kernel: Vec<f32> = (0..convolution.outputs * fan_in).map(|_| noise.bell()).collect();
    let mut output = convolution::convolve(input, convolution, &kernel);
    let positions = output.positions();
    let spreads: Vec<Spread> =
        output.data.par_chunks(positions).map(|values| Spread::of(values, convolution.role)).collect();
    let common = (spreads.iter().map(|spread| spread.square).sum::<f64>() / spreads.len() as f64).sqrt();

    let mut bias = Vec::with_capacity(convolution.outputs);
    let channels = kernel.chunks_exact_mut(fan_in).zip(output.data.chunks_exact_mut(positions));
    for (channel, ((kernel, output), spread)) in channels.zip(&spreads).enumerate() {
        let target = Target::of(convolution.role, channel, &mut noise);
        let width = spread.square.sqrt().max(QUIETEST_CHANNEL * common).max(f64::MIN_POSITIVE);
        let scale = target.width / width;
        let shift = (target.centre - spread.centre * scale) as f32;
        let scale = scale as f32;
        kernel.iter_mut().for_each(|weight| *weight *= scale);
        output.iter_mut().for_each(|value| *value = *value * scale + shift);
        bias.push(shift);
    }
    (output, Weights { kernel, bias })
}

/// Centre and mean square around it of one channel, summed in order.
struct Spread {
    centre: f64,
    square: f64,
}

impl Spread {
    /// Hidden layers spread around zero. Taking their mean away as well would fit them to these very pictures: every other picture would then be off by a
    /// little more in each layer, and by orders of magnitude at the head. Only the head itself is centred.
    fn of(values: &[f32], role: Role) -> Self {
        let count = values.len() as f64;
        let centre = match role {
            Role::Hidden | Role::Branch => 0.0,
            Role::ClassLogits | Role::BinLogits { .. } => values.iter().map(|&x| f64::from(x)).sum::<f64>() / count,
        };
        let squares = values.iter().map(|&x| (f64::from(x) - centre) * (f64::from(x) - centre)).sum::<f64>();
        Self { centre, square: squares / count }
    }
}

/// What the output of a channel is settled to.
struct Target {
    centre: f64,
    width: f64,
}

impl Target {
    /// Hidden channels vary around the common target, as trained ones do; heads do not.
    fn of(role: Role, channel: usize, noise: &mut Noise) -> Self {
        let mut hidden = |loudness: f32| (0.5 * loudness * noise.bell(), loudness * noise.uniform(0.6, 1.4));
        let (centre, width) = match role {
            Role::Hidden => hidden(LOUDNESS),
            Role::Branch => hidden(BRANCH_LOUDNESS),
            // Nearly all scores below 0.05, the best few above one half.
            Role::ClassLogits => (-5.5, 0.9),
            Role::BinLogits { largest_bin } => (bin_centre(channel % (largest_bin + 1), largest_bin), 0.9),
        };
        Self { centre: f64::from(centre), width: f64::from(width) }
    }
}

/// Distances of about a quarter of the range are the most likely: a tent over the bins.
fn bin_centre(bin: usize, largest_bin: usize) -> f32 {
    let range = largest_bin as f32;
    -6.0 * (bin as f32 - 0.25 * range).abs() / range
}
