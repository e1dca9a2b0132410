//! What a quantized network loses at its outputs.
//!
//! An output is looked at channel by channel: a detector's box coordinates are hundreds of times larger than its scores, and a ratio over the whole tensor would see
//! nothing but them. Each channel counts once, by its error relative to its own signal; a channel cannot count for more than lost. Channels that hold probabilities are
//! the exception, they count together: most classes are nowhere to be seen in a few samples, and the error of what is nearly zero says nothing.
//!
//! Most of a detector's output is background, and an error averaged over it prefers thresholds that clip: background becomes finer, and the few strong answers, which
//! are the detections, become weaker. So half of a channel's loss is measured with each element weighed by its squared distance from the channel's mean. Where
//! probabilities say how sure the network is of each position, the other channels (a detector's boxes) are weighed by that alone: where nothing is, no box matters.

use crate::AccuracyFloor;
use std::collections::HashMap;
use trtforge_graph::Tensor;

/// Error and signal of each channel of each output, summed over samples.
#[derive(Clone, Debug, Default)]
pub struct Loss {
    outputs: Vec<OutputLoss>,
}

#[derive(Clone, Debug)]
struct OutputLoss {
    name: String,
    noise: Vec<f64>,
    signal: Vec<f64>,
    peak_noise: Vec<f64>,
    peak_signal: Vec<f64>,
    /// Whether a channel of the reference held nothing but numbers from 0 to 1.
    probability: Vec<bool>,
    /// Whether every sample said how sure the network is of each position.
    certain: bool,
    candidate: f64,
    product: f64,
    /// Elements that are NaN or infinite on one side only.
    broken: u64,
}

impl Loss {
    /// Adds one sample: what the network should have written and what it wrote. Outputs without numbers or of other shapes are left out.
    pub fn add(&mut self, expected: &[(String, Tensor)], actual: &[(String, Tensor)]) {
        let actual: HashMap<&str, &Tensor> = actual.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let pairs = expected.iter().map(|(name, expected)| (name.as_str(), expected, actual.get(name.as_str())));
        let compared: Vec<Compared> =
            pairs.filter_map(|(name, expected, actual)| Compared::new(name, expected, actual?)).collect();
        let certainties: Vec<Vec<f32>> = compared.iter().filter_map(Compared::certainty).collect();
        for compared in &compared {
            let certainty = certainties.iter().find(|certainty| certainty.len() == compared.positions());
            self.output(compared.name, compared.layout.channels).add(compared, certainty.map(Vec::as_slice));
        }
    }

    /// Adds what was lost on other samples.
    pub fn merge(&mut self, other: &Loss) {
        for more in &other.outputs {
            self.output(&more.name, more.noise.len()).merge(more);
        }
    }

    fn output(&mut self, name: &str, channels: usize) -> &mut OutputLoss {
        let index = self.outputs.iter().position(|output| output.name == name).unwrap_or_else(|| {
            let zeros = vec![0.0; channels];
            self.outputs.push(OutputLoss {
                name: name.to_owned(),
                noise: zeros.clone(),
                signal: zeros.clone(),
                peak_noise: zeros.clone(),
                peak_signal: zeros,
                probability: vec![true; channels],
                certain: true,
                candidate: 0.0,
                product: 0.0,
                broken: 0,
            });
            self.outputs.len() - 1
        });
        &mut self.outputs[index]
    }

    /// Share of the worst output's signal that is lost, from 0 to 1, as the floor measures it: over the whole output where it asks for an SQNR or a cosine,
    /// the mean over its channels, background and peaks alike, otherwise.
    pub fn share(&self, floor: &AccuracyFloor) -> f64 {
        self.outputs.iter().map(|output| output.share(floor)).fold(0.0, f64::max)
    }

    /// The same in decibel; larger is better, infinite where nothing is lost.
    pub fn decibel(&self, floor: &AccuracyFloor) -> f64 {
        decibel(self.share(floor))
    }

    /// Decibel of each output, averaged over its channels, by its name.
    pub fn channels_by_output(&self) -> impl Iterator<Item = (&str, f64)> {
        self.outputs.iter().map(|output| (output.name.as_str(), decibel(output.mean_over_channels())))
    }

    /// Whether every output reaches the floor.
    pub fn reaches(&self, floor: &AccuracyFloor) -> bool {
        self.outputs.iter().all(|output| output.reaches(floor))
    }
}

/// `-10 log10` of a share.
pub fn decibel(share: f64) -> f64 {
    -10.0 * share.log10()
}

impl OutputLoss {
    fn add(&mut self, compared: &Compared, certainty: Option<&[f32]>) {
        let Compared { expected, actual, layout, probability, .. } = compared;
        let means = layout.means(expected);
        self.certain &= certainty.is_some();
        for (run, (expected, actual)) in expected.chunks(layout.inner).zip(actual.chunks(layout.inner)).enumerate() {
            let (channel, position) = (run % layout.channels, run / layout.channels * layout.inner);
            let certainty = certainty.filter(|_| !probability[channel]);
            self.probability[channel] &= probability[channel];
            for (index, (&e, &a)) in expected.iter().zip(actual).enumerate() {
                if !e.is_finite() || !a.is_finite() {
                    self.broken += u64::from(e.to_bits() != a.to_bits());
                    continue;
                }
                let (e, a) = (f64::from(e), f64::from(a));
                let (error, distance) = ((e - a) * (e - a), (e - means[channel]) * (e - means[channel]));
                let (weight, strength) = match certainty {
                    Some(certainty) => (f64::from(certainty[position + index]).powi(2), e * e),
                    None => (distance, distance),
                };
                self.signal[channel] += e * e;
                self.noise[channel] += error;
                self.peak_noise[channel] += weight * error;
                self.peak_signal[channel] += weight * strength;
                self.candidate += a * a;
                self.product += e * a;
            }
        }
    }

    fn merge(&mut self, other: &OutputLoss) {
        let add = |own: &mut [f64], more: &[f64]| own.iter_mut().zip(more).for_each(|(own, more)| *own += more);
        add(&mut self.noise, &other.noise);
        add(&mut self.signal, &other.signal);
        add(&mut self.peak_noise, &other.peak_noise);
        add(&mut self.peak_signal, &other.peak_signal);
        self.certain &= other.certain;
        self.probability.iter_mut().zip(&other.probability).for_each(|(own, more)| *own &= more);
        self.candidate += other.candidate;
        self.product += other.product;
        self.broken += other.broken;
    }

    fn share(&self, floor: &AccuracyFloor) -> f64 {
        match floor {
            _ if self.broken > 0 => 1.0,
            AccuracyFloor { sqnr_db: None, cosine: None, .. } => self.mean_over_channels(),
            _ => ratio(self.noise.iter().sum(), self.signal.iter().sum()),
        }
    }

    /// The mean over the kinds of channels that there are.
    fn mean_over_channels(&self) -> f64 {
        let others: Vec<f64> =
            (0..self.noise.len()).filter(|&channel| !self.probability[channel]).map(|c| self.channel(c)).collect();
        let mean = others.iter().sum::<f64>() / others.len().max(1) as f64;
        match (others.len(), self.noise.len()) {
            (0, _) => self.probabilities(),
            (some, all) if some == all => mean,
            _ => (mean + self.probabilities()) / 2.0,
        }
    }

    fn channel(&self, channel: usize) -> f64 {
        let peaks = ratio(self.peak_noise[channel], self.peak_signal[channel]);
        if self.certain { peaks } else { (ratio(self.noise[channel], self.signal[channel]) + peaks) / 2.0 }
    }

    /// Probabilities together: those of a class that is nowhere to be seen count for as little as they are.
    fn probabilities(&self) -> f64 {
        let sum = |values: &[f64]| -> f64 {
            values.iter().zip(&self.probability).filter(|(_, probability)| **probability).map(|(value, _)| value).sum()
        };
        let plain = ratio(sum(&self.noise), sum(&self.signal));
        (plain + ratio(sum(&self.peak_noise), sum(&self.peak_signal))) / 2.0
    }

    fn cosine(&self) -> f64 {
        let norm = (self.signal.iter().sum::<f64>() * self.candidate).sqrt();
        if norm == 0.0 { f64::from(u8::from(self.candidate == 0.0)) } else { self.product / norm }
    }

    fn reaches(&self, floor: &AccuracyFloor) -> bool {
        let whole = || decibel(ratio(self.noise.iter().sum(), self.signal.iter().sum()));
        self.broken == 0
            && floor.sqnr_db.is_none_or(|least| whole() >= least)
            && floor.cosine.is_none_or(|least| self.cosine() >= least)
            && floor.channel_db.is_none_or(|least| decibel(self.mean_over_channels()) >= least)
    }
}

fn ratio(noise: f64, signal: f64) -> f64 {
    if noise == 0.0 { 0.0 } else { (noise / signal).min(1.0) }
}

/// One output of one sample: as it should be and as it is.
struct Compared<'a> {
    name: &'a str,
    layout: Layout,
    expected: Vec<f32>,
    actual: Vec<f32>,
    /// Whether a channel holds nothing but numbers from 0 to 1.
    probability: Vec<bool>,
}

impl<'a> Compared<'a> {
    fn new(name: &'a str, expected: &Tensor, actual: &Tensor) -> Option<Self> {
        if expected.shape != actual.shape {
            return None;
        }
        let layout = Layout::of(&expected.shape);
        let (expected, actual) = (expected.to_vec_f32().ok()?, actual.to_vec_f32().ok()?);
        let mut probability = vec![true; layout.channels];
        for (run, values) in expected.chunks(layout.inner).enumerate() {
            probability[run % layout.channels] &= values.iter().all(|value| (0.0..=1.0).contains(value));
        }
        Some(Compared { name, layout, expected, actual, probability })
    }

    fn positions(&self) -> usize {
        self.expected.len() / self.layout.channels
    }

    /// The greatest probability at each position; none where there are no probabilities.
    fn certainty(&self) -> Option<Vec<f32>> {
        self.probability.contains(&true).then(|| {
            let mut certainty = vec![0f32; self.positions()];
            for (run, values) in self.expected.chunks(self.layout.inner).enumerate() {
                let start = run / self.layout.channels * self.layout.inner;
                if self.probability[run % self.layout.channels] {
                    certainty[start..].iter_mut().zip(values).for_each(|(most, &value)| *most = most.max(value));
                }
            }
            certainty
        })
    }
}

/// How the elements of an output lie: runs of `inner` elements of one channel, one channel after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    channels: usize,
    inner: usize,
}

impl Layout {
    /// The channels of an output: the second dimension of four, the shorter of the last two of three, the last otherwise.
    fn of(shape: &[u64]) -> Layout {
        let axis = match shape {
            [_, _, _, _] => 1,
            [_, a, b] if a < b => 1,
            [] => return Layout { channels: 1, inner: 1 },
            _ => shape.len() - 1,
        };
        let inner = shape[axis + 1..].iter().product::<u64>().max(1);
        Layout { channels: (shape[axis] as usize).max(1), inner: inner as usize }
    }

    /// Mean of each channel of one sample, over its finite elements.
    fn means(&self, values: &[f32]) -> Vec<f64> {
        let (mut sums, mut counts) = (vec![0f64; self.channels], vec![0u64; self.channels]);
        for (run, values) in values.chunks(self.inner).enumerate() {
            for &value in values.iter().filter(|value| value.is_finite()) {
                sums[run % self.channels] += f64::from(value);
                counts[run % self.channels] += 1;
            }
        }
        sums.iter().zip(&counts).map(|(sum, &count)| sum / count.max(1) as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: AccuracyFloor = AccuracyFloor { sqnr_db: None, cosine: None, channel_db: Some(20.0) };

    fn loss(shape: &[u64], expected: &[f32], actual: &[f32]) -> Loss {
        let tensor =
            |values: &[f32]| vec![("y".to_owned(), Tensor::from_vec(shape.to_vec(), values.to_vec()).unwrap())];
        let mut loss = Loss::default();
        loss.add(&tensor(expected), &tensor(actual));
        loss
    }

    #[test]
    fn a_small_channel_counts_as_much_as_a_large_one() {
        let found = loss(&[1, 2, 3], &[100.0, 102.0, 104.0, 0.1, 0.3, 0.5], &[100.0, 102.0, 104.0, 0.2, 0.6, 1.0]);
        assert!((found.share(&FLOOR) - 0.5).abs() < 1e-6, "{}", found.share(&FLOOR));
    }

    #[test]
    fn equal_outputs_lose_nothing_and_broken_ones_everything() {
        assert_eq!(loss(&[2], &[1.0, 2.0], &[1.0, 2.0]).decibel(&FLOOR), f64::INFINITY);
        assert_eq!(loss(&[2], &[1.0, 2.0], &[1.0, f32::NAN]).share(&FLOOR), 1.0);
    }

    #[test]
    fn channels_of_usual_outputs() {
        let channels = |shape: &[u64]| (Layout::of(shape).channels, Layout::of(shape).inner);
        assert_eq!(channels(&[1, 85, 22, 22]), (85, 484));
        assert_eq!(channels(&[1, 3549, 85]), (85, 1));
        assert_eq!(channels(&[1, 84, 8400]), (84, 8400));
        assert_eq!(channels(&[1, 10]), (10, 1));
    }
}
