//! Rounds the weights of convolutions so that their outputs change least, instead of each weight to its nearest integer.
//!
//! Nearest rounding makes each weight's error small and lets the errors add up where inputs go together. What counts is the error at the output, `e' H e` for the errors
//! `e` of one output channel's weights and the covariance `H` of the inputs that meet them; mean errors are left to the biases. Integers are changed one at a time to the
//! best there is while the others stay, until none changes (coordinate descent, Behdin et al., QuantEase, 2023): the error never grows.

use super::channels::ChannelMap;
use super::plan::Plan;
use super::trial::{TrialGround, side_by_side};
use super::weights::QuantizedWeight;
use crate::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use trtforge_graph::{Graph, NodeId, Tensor};
use trtforge_onnxruntime::{Watched, Watcher, release_freed_memory};

/// Most weights of one output channel; the covariance grows with its square.
const LONGEST: usize = 1152;
/// Samples that covariances are taken from.
const SAMPLES: usize = 16;
/// Least and most output positions taken from all samples together, in weights of one output channel.
const POSITIONS_PER_WEIGHT: usize = 3;
const LEAST_POSITIONS: usize = 1024;
/// Bytes of covariances that are held at once.
const HELD_BYTES: usize = 48 << 20;
/// What is added to the diagonal, in mean variances: the samples do not show everything.
const DAMPING: f32 = 0.01;
/// Most rounds over the weights of an output channel.
const ROUNDS: usize = 8;

/// A weight that was rounded for what it multiplies.
#[derive(Clone, Debug)]
pub struct Rounded {
    /// The factors that equalise its input, for which it was rounded.
    pub(super) factors: Option<Vec<f32>>,
    /// The integers and their scales.
    pub(super) weight: QuantizedWeight,
}

/// Rounds the quantized weights of `nodes` under a plan. Nodes whose inputs are too long to look at, or are no plain convolutions, are left out.
///
/// # Errors
/// Those of ONNX Runtime and of the samples; [`Error::Cancelled`].
pub(super) fn rounded(ground: &TrialGround<'_>, plan: &Plan, nodes: &[NodeId]) -> Result<BTreeMap<NodeId, Rounded>> {
    let graph = ground.graph();
    let wanted = nodes.iter().filter(|node| plan.placement.weights.contains_key(node));
    let windows: Vec<Arc<Window>> = wanted.filter_map(|&node| Window::of(graph, node)).map(Arc::new).collect();
    let mut found = BTreeMap::new();
    let mut rest = windows.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |window: &&Arc<Window>| {
            bytes += triangle(window.length) * size_of::<f32>();
            bytes <= HELD_BYTES
        };
        let (batch, more) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = more;
        let covariances = covariances(ground, batch)?;
        let rounded = side_by_side(batch.len(), &mut ground.hands(), |(), index| {
            ground.cancel().check()?;
            Ok(round(graph, plan, &batch[index], &covariances[index]).map(|rounded| (batch[index].node, rounded)))
        })?;
        found.extend(rounded.into_iter().flatten());
    }
    Ok(found)
}

/// What a convolution sees of its input at one output position.
struct Window {
    node: NodeId,
    input: String,
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
    /// Weights of one output channel.
    length: usize,
}

impl Window {
    fn of(graph: &Graph, node: NodeId) -> Option<Window> {
        let weight = graph.constant(graph.input(node, 1)?)?;
        let &[_, channels, height, width] = weight.shape.as_slice() else { return None };
        let plain = graph.op_type(node) == "Conv"
            && graph.attribute_int(node, "group").unwrap_or(1) == 1
            && graph.attribute_string(node, "auto_pad").is_none_or(|pad| pad == "NOTSET");
        let ints = |name: &str, count: usize, default: usize| -> Vec<usize> {
            let given =
                graph.attribute_ints(node, name).map(|given| given.iter().map(|&i| i.max(0) as usize).collect());
            given.unwrap_or_else(|| vec![default; count])
        };
        let length = (channels * height * width) as usize;
        Some(Window {
            node,
            input: graph.value(graph.input(node, 0)?).name.clone(),
            kernel: [height as usize, width as usize],
            strides: ints("strides", 2, 1).try_into().ok()?,
            dilations: ints("dilations", 2, 1).try_into().ok()?,
            pads: ints("pads", 4, 0).try_into().ok()?,
            length,
        })
        .filter(|_| plain && (2..=LONGEST).contains(&length))
    }

    /// Rows of inputs, each in the order of the weights, at evenly spread output positions of one sample.
    fn rows(&self, shape: &[i64], values: &[f32], sample: usize) -> Vec<f32> {
        let &[_, channels, height, width] = shape else { return vec![] };
        let (channels, height, width) = (channels as usize, height as usize, width as usize);
        let extent = |axis: usize, size: usize| {
            let reach = self.dilations[axis] * (self.kernel[axis] - 1) + 1;
            (size + self.pads[axis] + self.pads[axis + 2])
                .checked_sub(reach)
                .map_or(0, |room| room / self.strides[axis] + 1)
        };
        let (down, across) = (extent(0, height), extent(1, width));
        let positions = down * across;
        let wanted = (self.length * POSITIONS_PER_WEIGHT).max(LEAST_POSITIONS).div_ceil(SAMPLES).min(positions);
        if channels * self.kernel[0] * self.kernel[1] != self.length {
            return vec![];
        }
        let mut rows = Vec::with_capacity(wanted * self.length);
        for index in 0..wanted {
            // A different place within each stretch from sample to sample.
            let position = (index * positions + (sample * positions / SAMPLES).min(positions - 1)) / wanted % positions;
            let (y, x) = (position / across * self.strides[0], position % across * self.strides[1]);
            for channel in 0..channels {
                for row in 0..self.kernel[0] {
                    let y = (y + row * self.dilations[0]).checked_sub(self.pads[0]).filter(|&y| y < height);
                    for column in 0..self.kernel[1] {
                        let x = (x + column * self.dilations[1]).checked_sub(self.pads[1]).filter(|&x| x < width);
                        let inside = y.zip(x).and_then(|(y, x)| values.get((channel * height + y) * width + x));
                        rows.push(inside.copied().unwrap_or_default());
                    }
                }
            }
        }
        rows
    }
}

/// Sums over rows of inputs.
struct Covariance {
    /// Of each pair of inputs once: row `i` holds those of `i` with itself and all behind it.
    products: Vec<f32>,
    sums: Vec<f64>,
    rows: usize,
}

impl Covariance {
    fn new(length: usize) -> Covariance {
        Covariance { products: vec![0.0; triangle(length)], sums: vec![0.0; length], rows: 0 }
    }

    fn add(&mut self, rows: &[f32]) {
        let length = self.sums.len();
        // Four rows at a time: the products, which do not fit the nearest cache, are read and written a quarter as often.
        for four in rows.chunks(4 * length) {
            let row = |index: usize| four.get(index * length..(index + 1) * length).unwrap_or_default();
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let mut rest = self.products.as_mut_slice();
            for i in 0..length {
                let products;
                (products, rest) = rest.split_at_mut(length - i);
                if d.is_empty() {
                    for row in [a, b, c] {
                        row.get(i).into_iter().for_each(|&x| axpy(products, x, &row[i..]));
                    }
                    continue;
                }
                let (w, x, y, z) = (a[i], b[i], c[i], d[i]);
                for ((((p, a), b), c), d) in products.iter_mut().zip(&a[i..]).zip(&b[i..]).zip(&c[i..]).zip(&d[i..]) {
                    *p += w * a + x * b + y * c + z * d;
                }
            }
        }
        for row in rows.chunks(length) {
            self.sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
            self.rows += 1;
        }
    }

    /// The covariance as a full, damped matrix; inputs are divided by their factors first.
    fn finish(&self, factors: impl Fn(usize) -> f32) -> Vec<f32> {
        let (length, count) = (self.sums.len(), self.rows.max(1) as f64);
        let mut matrix = vec![0f32; length * length];
        let mut products = self.products.iter();
        for i in 0..length {
            for (j, &product) in (i..length).zip(&mut products) {
                let product = f64::from(product) / count;
                let covariance =
                    (product - self.sums[i] * self.sums[j] / count / count) as f32 / (factors(i) * factors(j));
                (matrix[i * length + j], matrix[j * length + i]) = (covariance, covariance);
            }
        }
        let mean = (0..length).map(|i| matrix[i * length + i]).sum::<f32>() / length as f32;
        (0..length).for_each(|i| matrix[i * length + i] = matrix[i * length + i].max(0.0) + DAMPING * mean);
        matrix
    }
}

/// Numbers above and on the diagonal of a square matrix.
fn triangle(length: usize) -> usize {
    length * (length + 1) / 2
}

fn axpy(sums: &mut [f32], factor: f32, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += factor * value);
}

/// The covariance of what each window sees. The network runs in 32 bits; what samples show is added in their order, whatever the number of threads.
fn covariances(ground: &TrialGround<'_>, windows: &[Arc<Window>]) -> Result<Vec<Covariance>> {
    let mut by_input: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, window) in windows.iter().enumerate() {
        by_input.entry(&window.input).or_default().push(index);
    }
    let names: Vec<&str> = by_input.keys().copied().collect();
    let (windows_of, own): (Vec<_>, Vec<_>) = (by_input.values().cloned().collect(), windows.to_vec());
    let view = Arc::new(View { windows: own, windows_of });
    let mut sessions = ground.watched(&names, || Rows { view: Arc::clone(&view), sample: 0, rows: vec![] })?;
    let sums: Vec<Mutex<Covariance>> = windows.iter().map(|w| Mutex::new(Covariance::new(w.length))).collect();
    let surveyed = ground.surveyed();
    let count = surveyed.len().min(SAMPLES);
    let chosen: Vec<usize> = (0..count).map(|position| surveyed[position * surveyed.len() / count]).collect();
    for (part, samples) in chosen.chunks(ground.threads()).enumerate() {
        let seen = side_by_side(samples.len(), &mut sessions, |session, index| {
            ground.cancel().check()?;
            view.rows(session, part * ground.threads() + index, &ground.sample(samples[index])?)
        })?;
        let done = part * ground.threads() + samples.len();
        ground.progress().advance("samples seen by weights", done as u64, count as u64);
        side_by_side(windows.len(), &mut ground.hands(), |(), window| {
            ground.cancel().check()?;
            if let Ok(mut sums) = sums[window].lock() {
                seen.iter().for_each(|rows| sums.add(&rows[window]));
            }
            Ok(())
        })?;
    }
    drop(sessions);
    release_freed_memory();
    Ok(sums.into_iter().map(|sums| sums.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)).collect())
}

/// What is seen of a run: windows, and which of them each watched tensor is the input of.
struct View {
    windows: Vec<Arc<Window>>,
    windows_of: Vec<Vec<usize>>,
}

impl View {
    /// The rows of each window in one sample.
    fn rows(&self, session: &mut Watched<Rows>, sample: usize, inputs: &[(String, Tensor)]) -> Result<Vec<Vec<f32>>> {
        let nothing: Vec<Vec<f32>> = self.windows.iter().map(|_| vec![]).collect();
        if inputs.is_empty() {
            return Ok(nothing);
        }
        (session.watcher().sample, session.watcher().rows) = (sample, nothing);
        let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        session.run(&borrowed)?;
        Ok(std::mem::take(&mut session.watcher().rows))
    }
}

/// Takes the rows of every window from one run.
struct Rows {
    view: Arc<View>,
    sample: usize,
    rows: Vec<Vec<f32>>,
}

impl Watcher for Rows {
    fn see(&mut self, index: usize, shape: &[i64], values: &[f32]) {
        for &window in &self.view.windows_of[index] {
            self.rows[window] = self.view.windows[window].rows(shape, values, self.sample);
        }
    }
}

fn round(graph: &Graph, plan: &Plan, window: &Window, covariance: &Covariance) -> Option<Rounded> {
    let (factors, weight, axis) = plan.equalized_weight(graph, window.node)?;
    let map = ChannelMap::of(graph, window.node, &weight)?;
    let kernel = window.kernel[0] * window.kernel[1];
    if covariance.rows == 0 || map.inputs * kernel != window.length {
        return None;
    }
    let factor = |index: usize| factors.as_ref().map_or(1.0, |factors| factors[index / kernel]);
    let matrix = covariance.finish(factor);
    let mut quantized = QuantizedWeight::new(&weight, axis)?;
    let mut integers = quantized.values.as_slice::<i8>().ok()?.to_vec();
    let exact = weight.as_slice::<f32>().ok()?;
    for (channel, (integers, exact)) in integers.chunks_mut(window.length).zip(exact.chunks(window.length)).enumerate()
    {
        descend(&matrix, integers, exact, quantized.scales[channel]);
    }
    quantized.values = Tensor::from_vec(weight.shape.clone(), integers).ok()?;
    Some(Rounded { factors, weight: quantized })
}

/// Changes one integer at a time to the best while the others stay.
fn descend(matrix: &[f32], integers: &mut [i8], exact: &[f32], scale: f32) {
    let length = integers.len();
    let errors: Vec<f32> = integers.iter().zip(exact).map(|(&q, &w)| f32::from(q) - w / scale).collect();
    let mut slope = vec![0f32; length];
    for (row, &error) in matrix.chunks(length).zip(&errors) {
        axpy(&mut slope, error, row);
    }
    for _ in 0..ROUNDS {
        let mut changed = false;
        for index in 0..length {
            let row = &matrix[index * length..(index + 1) * length];
            let best = (f32::from(integers[index]) - slope[index] / row[index]).round_ties_even().clamp(-127.0, 127.0);
            let change = best - f32::from(integers[index]);
            if change != 0.0 && change.is_finite() {
                integers[index] = best as i8;
                axpy(&mut slope, change, row);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(matrix: &[f32], integers: &[i8], exact: &[f32], scale: f32) -> f64 {
        let errors: Vec<f64> =
            integers.iter().zip(exact).map(|(&q, &w)| f64::from(q) * f64::from(scale) - f64::from(w)).collect();
        let length = errors.len();
        let pairs = (0..length).flat_map(|i| (0..length).map(move |j| (i, j)));
        pairs.map(|(i, j)| errors[i] * errors[j] * f64::from(matrix[i * length + j])).sum()
    }

    #[test]
    fn errors_of_inputs_that_go_together_cancel() {
        // Two inputs that are always equal: only the sum of the weights counts, and 0.4 + 0.4 is nearer to 1 + 0 than to 0 + 0.
        let matrix = [1.001, 1.0, 1.0, 1.001];
        let mut integers = [0i8, 0];
        descend(&matrix, &mut integers, &[0.4, 0.4], 1.0);
        assert_eq!(integers.iter().map(|&q| i32::from(q)).sum::<i32>(), 1);
    }

    proptest! {
        #[test]
        fn the_error_never_grows(rows in prop::collection::vec(prop::collection::vec(-3f32..3.0, 6), 8..40), exact in prop::collection::vec(-1f32..1.0, 6)) {
            let mut covariance = Covariance::new(6);
            covariance.add(&rows.concat());
            let matrix = covariance.finish(|_| 1.0);
            let scale = 1.0 / 9.0;
            let nearest: Vec<i8> = exact.iter().map(|&w| (w / scale).round_ties_even() as i8).collect();
            let mut rounded = nearest.clone();
            descend(&matrix, &mut rounded, &exact, scale);
            let (before, after) = (error(&matrix, &nearest, &exact, scale), error(&matrix, &rounded, &exact, scale));
            prop_assert!(after <= before * 1.0001 + 1e-9, "{before} became {after}");
        }

        #[test]
        fn covariances_are_those_of_the_definition(rows in prop::collection::vec(prop::collection::vec(-3f32..3.0, 5), 2..30)) {
            let mut covariance = Covariance::new(5);
            let split = rows.len() / 2;
            covariance.add(&rows[..split].concat());
            covariance.add(&rows[split..].concat());
            let matrix = covariance.finish(|_| 1.0);
            let count = rows.len() as f64;
            let mean = |i: usize| rows.iter().map(|row| f64::from(row[i])).sum::<f64>() / count;
            let expected = |i: usize, j: usize| rows.iter().map(|row| (f64::from(row[i]) - mean(i)) * (f64::from(row[j]) - mean(j))).sum::<f64>() / count;
            for (i, j) in [(0, 1), (2, 4), (3, 1)] {
                prop_assert!((f64::from(matrix[i * 5 + j]) - expected(i, j)).abs() < 1e-3);
            }
        }
    }
}
