//! The least and the greatest element that each floating-point value takes on sample inputs. [`crate::calibration::observe`] finds them.

use super::is_float32;
use std::collections::BTreeMap;
use trtforge_graph::{Graph, ValueId};

/// Least and greatest element that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least element.
    pub min: f32,
    /// Greatest element.
    pub max: f32,
}

impl Range {
    /// Largest magnitude; NaN counts as infinite.
    pub fn amax(self) -> f32 {
        if self.is_nan() { f32::INFINITY } else { self.min.abs().max(self.max.abs()) }
    }

    /// The range of `values`: NaN where one of them is, nothing where there are none. A zero is positive, so that the result does not depend on the order.
    pub fn of(values: &[f32]) -> Option<Range> {
        const LANES: usize = 16;
        let (mut min, mut max, mut nan) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], false);
        let (chunks, rest) = values.as_chunks::<LANES>();
        let padded: Option<[f32; LANES]> =
            rest.first().map(|&first| std::array::from_fn(|lane| rest.get(lane).copied().unwrap_or(first)));
        for chunk in chunks.iter().chain(&padded) {
            for lane in 0..LANES {
                let value = chunk[lane] + 0.0;
                min[lane] = if value < min[lane] { value } else { min[lane] };
                max[lane] = if value > max[lane] { value } else { max[lane] };
                nan |= value.is_nan();
            }
        }
        if nan {
            return Some(Range { min: f32::NAN, max: f32::NAN });
        }
        let (min, max) =
            (min.into_iter().fold(f32::INFINITY, f32::min), max.into_iter().fold(f32::NEG_INFINITY, f32::max));
        (!values.is_empty()).then_some(Range { min, max })
    }

    /// Whether an element was NaN or infinite.
    pub fn is_finite(self) -> bool {
        self.min.is_finite() && self.max.is_finite()
    }

    fn is_nan(self) -> bool {
        self.min.is_nan() || self.max.is_nan()
    }

    /// The least range that holds both; NaN where one of them is.
    pub fn union(self, other: Range) -> Range {
        match (self.is_nan(), other.is_nan()) {
            (true, _) => self,
            (_, true) => other,
            _ => Range { min: self.min.min(other.min), max: self.max.max(other.max) },
        }
    }
}

/// Ranges by value name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    by_value: BTreeMap<String, Range>,
    samples: usize,
}

impl Ranges {
    /// The range of a value, where it was observed.
    pub fn get(&self, value: &str) -> Option<Range> {
        self.by_value.get(value).copied()
    }

    /// Adds what one more sample showed.
    pub fn add(&mut self, value: &str, range: Range) {
        self.by_value.entry(value.to_owned()).and_modify(|known| *known = known.union(range)).or_insert(range);
    }

    /// Adds everything that `other` saw.
    pub fn merge(&mut self, other: &Ranges) {
        other.iter().for_each(|(value, range)| self.add(value, range));
        self.samples += other.samples;
    }

    /// Counts samples.
    pub fn add_samples(&mut self, samples: usize) {
        self.samples += samples;
    }

    /// Values and their ranges, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Range)> {
        self.by_value.iter().map(|(value, range)| (value.as_str(), *range))
    }

    /// Number of samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of values with a range.
    pub fn len(&self) -> usize {
        self.by_value.len()
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.by_value.is_empty()
    }
}

/// Every 32-bit floating-point value that is not a constant, in the order of computation: inputs first.
pub(crate) fn watched_values(graph: &Graph) -> Vec<ValueId> {
    let made = graph.node_ids().flat_map(|node| graph.outputs(node).iter().copied().flatten());
    let values = graph.graph_inputs().iter().copied().chain(made);
    values.filter(|&value| is_float32(graph, value) && graph.constant(value).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_infinite_and_sticks() {
        let nan = Range { min: f32::NAN, max: 1.0 };
        assert_eq!(nan.amax(), f32::INFINITY);
        let mut ranges = Ranges::default();
        ranges.add("x", nan);
        ranges.add("x", Range { min: 0.0, max: 2.0 });
        assert_eq!(ranges.get("x").unwrap().amax(), f32::INFINITY);
        ranges.add("y", Range { min: 0.0, max: 2.0 });
        ranges.add("y", nan);
        assert_eq!(ranges.get("y").unwrap().amax(), f32::INFINITY);
    }

    #[test]
    fn ranges_of_slices() {
        assert_eq!(Range::of(&[]), None);
        let values: Vec<f32> = (0..100).map(|index| ((index * 37) % 101) as f32 - 50.0).collect();
        for length in 1..values.len() {
            let part = &values[..length];
            let expected = part.iter().fold((f32::MAX, f32::MIN), |(min, max), &x| (min.min(x), max.max(x)));
            assert_eq!(Range::of(part), Some(Range { min: expected.0, max: expected.1 }), "{length}");
        }
        for place in [0, 15, 16, 40, 98] {
            let mut values = values[..99].to_vec();
            values[place] = f32::NAN;
            assert_eq!(Range::of(&values).unwrap().amax(), f32::INFINITY, "{place}");
        }
        assert!(Range::of(&[-0.0]).unwrap().min.is_sign_positive());
        assert_eq!(Range::of(&[1.0, f32::NEG_INFINITY]), Some(Range { min: f32::NEG_INFINITY, max: 1.0 }));
    }

    #[test]
    fn ranges_grow() {
        let mut ranges = Ranges::default();
        ranges.add("x", Range { min: -1.0, max: 1.0 });
        ranges.add("x", Range { min: -0.5, max: 3.0 });
        assert_eq!(ranges.get("x"), Some(Range { min: -1.0, max: 3.0 }));
        assert_eq!(ranges.get("x").unwrap().amax(), 3.0);
    }
}
