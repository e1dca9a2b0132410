//! What a quantized network loses at its outputs.
//!
//! An output is looked at channel by channel: a detector's box coordinates are hundreds of times larger than its scores, and a ratio over the whole tensor would see
//! nothing but them. Each channel counts once, by its error relative to its own signal; a channel cannot count for more than lost.
//!
//! Half of a channel's loss is measured with each element weighed by its squared distance from the channel's mean. Most of a detector's output is background, and an
//! error averaged over it prefers thresholds that clip: background becomes finer, and the few strong answers, which are the detections, become weaker.

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
    candidate: f64,
    product: f64,
    /// Elements that are NaN or infinite on one side only.
    broken: u64,
}

impl Loss {
    /// Adds one sample: what the network should have written and what it wrote. Outputs without numbers or of other shapes are left out.
    pub fn add(&mut self, expected: &[(String, Tensor)], actual: &[(String, Tensor)]) {
        let actual: HashMap<&str, &Tensor> = actual.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        for (name, expected) in expected {
            let Some(actual) = actual.get(name.as_str()).filter(|actual| actual.shape == expected.shape) else {
                continue;
            };
            let (Ok(expected_values), Ok(actual_values)) = (expected.to_vec_f32(), actual.to_vec_f32()) else {
                continue;
            };
            let (channels, inner) = channels(&expected.shape);
            self.output(name, channels).add(&expected_values, &actual_values, inner);
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
    fn add(&mut self, expected: &[f32], actual: &[f32], inner: usize) {
        let channels = self.noise.len();
        let means = channel_means(expected, channels, inner);
        for (run, (expected, actual)) in expected.chunks(inner).zip(actual.chunks(inner)).enumerate() {
            let channel = run % channels;
            for (&e, &a) in expected.iter().zip(actual) {
                if !e.is_finite() || !a.is_finite() {
                    self.broken += u64::from(e.to_bits() != a.to_bits());
                    continue;
                }
                let (e, a) = (f64::from(e), f64::from(a));
                let (error, distance) = ((e - a) * (e - a), (e - means[channel]) * (e - means[channel]));
                self.signal[channel] += e * e;
                self.noise[channel] += error;
                self.peak_noise[channel] += distance * error;
                self.peak_signal[channel] += distance * distance;
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

    fn mean_over_channels(&self) -> f64 {
        let plain = self.noise.iter().zip(&self.signal);
        let peaks = self.peak_noise.iter().zip(&self.peak_signal);
        let shares = plain.chain(peaks).map(|(&noise, &signal)| ratio(noise, signal));
        shares.sum::<f64>() / (2 * self.noise.len()).max(1) as f64
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

/// Mean of each channel of one sample, over its finite elements.
fn channel_means(values: &[f32], channels: usize, inner: usize) -> Vec<f64> {
    let (mut sums, mut counts) = (vec![0f64; channels], vec![0u64; channels]);
    for (run, values) in values.chunks(inner).enumerate() {
        for &value in values.iter().filter(|value| value.is_finite()) {
            sums[run % channels] += f64::from(value);
            counts[run % channels] += 1;
        }
    }
    sums.iter().zip(&counts).map(|(sum, &count)| sum / count.max(1) as f64).collect()
}

/// Number of channels of an output and how many elements lie between one channel and the next: the second dimension of four,
/// the shorter of the last two of three, the last otherwise.
fn channels(shape: &[u64]) -> (usize, usize) {
    let axis = match shape {
        [_, _, _, _] => 1,
        [_, a, b] if a < b => 1,
        [] => return (1, 1),
        _ => shape.len() - 1,
    };
    let inner = shape[axis + 1..].iter().product::<u64>().max(1);
    ((shape[axis] as usize).max(1), inner as usize)
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
        assert_eq!(channels(&[1, 85, 22, 22]), (85, 484));
        assert_eq!(channels(&[1, 3549, 85]), (85, 1));
        assert_eq!(channels(&[1, 84, 8400]), (84, 8400));
        assert_eq!(channels(&[1, 10]), (10, 1));
    }
}
