//! What a streaming pass has seen so far: a histogram per tensor, ranges of everything else, and of which samples.
//!
//! Two observations of different samples add up exactly and in any order, so a pass can be split over threads, and over runs.

use super::Histogram;
use crate::precision::{Range, Ranges};
use crate::samples::Unreadable;
use std::collections::{BTreeMap, BTreeSet};

/// Everything seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    pub(super) histograms: BTreeMap<String, Histogram>,
    /// Of values without a histogram.
    pub(super) ranges: Ranges,
    /// Batches that are done, by their index.
    pub(super) done: BTreeSet<usize>,
    /// Images passed over, by their index.
    pub(super) unreadable: BTreeMap<usize, Unreadable>,
}

impl Observation {
    /// The histogram of a tensor, where it was asked for.
    pub fn histogram(&self, tensor: &str) -> Option<&Histogram> {
        self.histograms.get(tensor)
    }

    /// Tensors and their histograms, by name.
    pub fn histograms(&self) -> impl Iterator<Item = (&str, &Histogram)> {
        self.histograms.iter().map(|(tensor, histogram)| (tensor.as_str(), histogram))
    }

    /// Number of images (or rows of arrays) that were counted.
    pub fn samples(&self) -> usize {
        self.ranges.samples()
    }

    /// Number of batches that were run or found unreadable.
    pub fn batches(&self) -> usize {
        self.done.len()
    }

    /// The images that were passed over, in the order of the list.
    pub fn unreadable(&self) -> impl Iterator<Item = &Unreadable> {
        self.unreadable.values()
    }

    /// The range of every value that was watched; tensors with a histogram take theirs from it.
    pub fn ranges(&self) -> Ranges {
        let mut ranges = self.ranges.clone();
        for (tensor, histogram) in self.histograms().filter(|(_, histogram)| histogram.total() > 0) {
            ranges.add(tensor, Range { min: histogram.min() + 0.0, max: histogram.max() + 0.0 });
        }
        ranges
    }

    /// Adds what was seen on other samples.
    pub fn merge(&mut self, other: &Observation) {
        for (tensor, histogram) in &other.histograms {
            match self.histograms.get_mut(tensor) {
                Some(own) => own.merge(histogram),
                None => drop(self.histograms.insert(tensor.clone(), histogram.clone())),
            }
        }
        self.ranges.merge(&other.ranges);
        self.done.extend(&other.done);
        self.unreadable.extend(other.unreadable.iter().map(|(index, image)| (*index, image.clone())));
    }
}
