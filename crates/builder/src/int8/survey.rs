//! Looks at the channels of tensors on the calibration samples: their range, their mean, and their mean after quantization.
//!
//! Equalisation needs the first, bias correction the other two. The network runs in 32 bits; only sums are kept. Samples are shared out to threads, each with a session of
//! one thread, and their sums are added up in the order of the samples, so that the result does not depend on the number of threads.

use super::plan::Plan;
use super::trial::{TrialGround, side_by_side};
use crate::Result;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trtforge_graph::{Tensor, ValueId};
use trtforge_onnxruntime::{Watched, Watcher, release_freed_memory};

/// Samples that a thread looks at before their sums are added up.
const SAMPLES_PER_THREAD: usize = 4;

/// Added and subtracted again, this rounds a number under 2^22 to the nearest integer, halves to even, without the call that every processor's code would make.
const ROUNDER: f32 = 12_582_912.0;

/// What one channel of a tensor holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelStatistics {
    /// Least element, or 0.
    pub min: f32,
    /// Greatest element, or 0.
    pub max: f32,
    /// Mean.
    pub mean: f64,
    /// Mean after quantization, of what is quantized: the equalised channel where the tensor is equalised.
    pub quantized_mean: f64,
    /// Variance of the error of quantization, in the tensor's own unit: what is left of it once the mean error is taken back.
    pub noise: f64,
    /// Variance.
    pub variance: f64,
}

/// Statistics of each channel, the second dimension of a tensor.
pub type Survey = HashMap<ValueId, Vec<ChannelStatistics>>;

/// Surveys the tensors of all plans, each with its own scales and factors, on these samples; the network runs once per sample for all of them.
///
/// # Errors
/// Those of ONNX Runtime and of the samples; [`Cancelled`](crate::Error::Cancelled).
pub fn survey(ground: &TrialGround<'_>, plans: &[&Plan], samples: &[usize]) -> Result<Vec<Survey>> {
    let wanted: BTreeSet<ValueId> = plans.iter().flat_map(|plan| plan.placement.tensors.keys().copied()).collect();
    if wanted.is_empty() {
        return Ok(plans.iter().map(|_| Survey::new()).collect());
    }
    let graph = ground.graph();
    let values: Vec<ValueId> = wanted.into_iter().collect();
    let names: Vec<&str> = values.iter().map(|&value| graph.value(value).name.as_str()).collect();
    let look = Arc::new(Look { plans: plans.iter().map(|&plan| plan.clone()).collect(), values });
    let mut sessions = ground.watched(&names, || Sight { look: Arc::clone(&look), sums: vec![] })?;
    let done = AtomicUsize::new(0);
    let mut totals: Vec<HashMap<ValueId, Sums>> = plans.iter().map(|_| HashMap::new()).collect();
    // A few samples at a time: the sums of all of them would take more memory than the network.
    for part in samples.chunks(SAMPLES_PER_THREAD * ground.threads()) {
        let seen = side_by_side(part.len(), &mut sessions, |session, index| {
            let sample = look.sample(ground, session, part[index])?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            ground.progress().advance("samples looked at", done as u64, samples.len() as u64);
            Ok(sample)
        })?;
        for sample in seen {
            for (total, sums) in totals.iter_mut().zip(sample) {
                sums.into_iter().for_each(|(value, sums)| total.entry(value).or_default().merge(sums));
            }
        }
    }
    drop(sessions);
    release_freed_memory();
    let finish = |sums: HashMap<ValueId, Sums>| sums.into_iter().map(|(value, sums)| (value, sums.finish())).collect();
    Ok(totals.into_iter().map(finish).collect())
}

/// What one sample shows, for each plan.
type Sample = Vec<HashMap<ValueId, Sums>>;

/// What is looked at: the values of all plans, with what each plan does to them.
struct Look {
    plans: Vec<Plan>,
    values: Vec<ValueId>,
}

impl Look {
    fn nothing(&self) -> Sample {
        self.plans.iter().map(|_| HashMap::new()).collect()
    }

    fn sample(&self, ground: &TrialGround<'_>, session: &mut Watched<Sight>, index: usize) -> Result<Sample> {
        ground.cancel().check()?;
        let inputs = ground.sample(index)?;
        if inputs.is_empty() {
            return Ok(self.nothing());
        }
        session.watcher().sums = self.nothing();
        let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        session.run(&borrowed)?;
        Ok(std::mem::take(&mut session.watcher().sums))
    }
}

/// Adds up what one run shows.
struct Sight {
    look: Arc<Look>,
    sums: Sample,
}

impl Watcher for Sight {
    fn see(&mut self, index: usize, shape: &[i64], values: &[f32]) {
        let value = self.look.values[index];
        for (plan, sums) in self.look.plans.iter().zip(&mut self.sums) {
            if plan.placement.tensors.contains_key(&value) {
                sums.entry(value).or_default().add(values, shape, plan, value);
            }
        }
    }
}

#[derive(Default)]
struct Sums {
    channels: Vec<ChannelSums>,
    elements: u64,
}

/// Of one channel: its range, and sums where its statistics are means.
#[derive(Clone, Copy, Default)]
struct ChannelSums {
    min: f32,
    max: f32,
    sum: f64,
    squares: f64,
    quantized: f64,
    error: f64,
    squared_error: f64,
}

impl Sums {
    fn add(&mut self, values: &[f32], shape: &[i64], plan: &Plan, value: ValueId) {
        let (channels, inner) = match shape {
            [_, channels, rest @ ..] if !rest.is_empty() => (*channels as usize, rest.iter().product::<i64>() as usize),
            _ => return,
        };
        if channels == 0 || inner == 0 {
            return;
        }
        self.channels.resize(channels, ChannelSums::default());
        let scale = plan.scales.get(&value).copied().unwrap_or(1.0);
        let equalization = plan.equalizations.get(&value);
        for (run, values) in values.chunks(inner).enumerate() {
            let (factor, offset) = equalization.map_or((1.0, 0.0), |equalization| equalization.channel(run % channels));
            self.channels[run % channels].add(values, factor, offset, scale);
        }
        self.elements += (values.len() / channels) as u64;
    }

    fn merge(&mut self, other: Sums) {
        if self.channels.is_empty() {
            *self = other;
            return;
        }
        for (own, more) in self.channels.iter_mut().zip(other.channels) {
            own.min = own.min.min(more.min);
            own.max = own.max.max(more.max);
            own.sum += more.sum;
            own.squares += more.squares;
            own.quantized += more.quantized;
            own.error += more.error;
            own.squared_error += more.squared_error;
        }
        self.elements += other.elements;
    }

    fn finish(self) -> Vec<ChannelStatistics> {
        let count = self.elements.max(1) as f64;
        self.channels.into_iter().map(|sums| sums.finish(count)).collect()
    }
}

impl ChannelSums {
    fn add(&mut self, values: &[f32], factor: f32, offset: f32, scale: f32) {
        let (step, inverse) = (f64::from(factor * scale), (factor * scale).recip());
        // Sums of a few thousand at a time in 32 bits keep the loop in vector registers, and exact enough.
        for values in values.chunks(4096) {
            let (mut min, mut max, mut sum, mut quantized) = (0f32, 0f32, 0f32, 0f32);
            let (mut squares, mut error, mut squared_error) = (0f32, 0f32, 0f32);
            for &value in values {
                min = min.min(value);
                max = max.max(value);
                sum += value;
                squares += value * value;
                let exact = (value - offset) * inverse;
                let nearest = (exact.clamp(-128.0, 127.0) + ROUNDER) - ROUNDER;
                quantized += nearest;
                error += exact - nearest;
                squared_error += (exact - nearest) * (exact - nearest);
            }
            self.min = self.min.min(min);
            self.max = self.max.max(max);
            self.sum += f64::from(sum);
            self.squares += f64::from(squares);
            self.quantized += f64::from(quantized) * f64::from(scale);
            self.error += f64::from(error) * step;
            self.squared_error += f64::from(squared_error) * step * step;
        }
    }

    fn finish(&self, count: f64) -> ChannelStatistics {
        let (mean, error) = (self.sum / count, self.error / count);
        ChannelStatistics {
            min: self.min,
            max: self.max,
            mean,
            quantized_mean: self.quantized / count,
            noise: (self.squared_error / count - error * error).max(0.0),
            variance: (self.squares / count - mean * mean).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn statistics_are_those_of_the_definition(values in prop::collection::vec(-40f32..40.0, 1..300), scale in 0.05f32..0.5, offset in -3f32..3.0) {
            let mut sums = ChannelSums::default();
            sums.add(&values, 1.0, offset, scale);
            let found = sums.finish(values.len() as f64);
            let integer = |value: f32| f64::from(((value - offset) * scale.recip()).round_ties_even().clamp(-128.0, 127.0));
            let mean = |of: &dyn Fn(f32) -> f64| values.iter().map(|&value| of(value)).sum::<f64>() / values.len() as f64;
            let quantized = mean(&|value| integer(value) * f64::from(scale));
            let error = |value: f32| f64::from(value - offset) - integer(value) * f64::from(scale);
            let noise = mean(&|value| error(value).powi(2)) - mean(&error).powi(2);
            prop_assert!((found.quantized_mean - quantized).abs() < 1e-4, "{} is not {quantized}", found.quantized_mean);
            prop_assert!((found.noise - noise).abs() < 1e-3 * (1.0 + noise), "{} is not {noise}", found.noise);
        }
    }

    #[test]
    fn halves_go_to_the_even_integer() {
        for (exact, nearest) in [(0.5, 0.0), (1.5, 2.0), (-2.5, -2.0), (126.5, 126.0), (300.0, 127.0), (-300.0, -128.0)]
        {
            let mut sums = ChannelSums::default();
            sums.add(&[exact], 1.0, 0.0, 1.0);
            assert_eq!(sums.finish(1.0).quantized_mean, nearest);
        }
    }
}
