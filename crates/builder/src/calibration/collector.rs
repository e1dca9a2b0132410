//! Counts what one worker sees.

use super::{Histogram, Observation};
use crate::precision::Range;
use crate::samples::{Batch, Unreadable};
use crate::{Error, Result};
use std::sync::Arc;
use trtforge_onnxruntime::Watcher;

/// A value to watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) name: String,
    /// Whether it gets a histogram; a range otherwise.
    pub(super) histogram: bool,
}

/// What one worker has seen since it last handed over.
pub(super) struct Collector {
    watches: Arc<[Watch]>,
    counts: Vec<Count>,
    part: Observation,
    /// Rows of the batch in work that count, and rows in all.
    rows: (usize, usize),
    /// The first value of the batch in work that is NaN or infinite.
    origin: Option<usize>,
    /// The first such value that has a histogram, and the element.
    refused: Option<(usize, f32)>,
}

enum Count {
    Histogram(Histogram),
    Range(Option<Range>),
}

impl Collector {
    /// A collector for values in the order of computation.
    pub(super) fn new(watches: Arc<[Watch]>) -> Self {
        let counts = watches.iter().map(Count::new).collect();
        Collector { watches, counts, part: Observation::default(), rows: (0, 0), origin: None, refused: None }
    }

    /// A run on `batch` follows, of `size` rows.
    pub(super) fn begin(&mut self, batch: &Batch, size: usize) {
        (self.rows, self.origin, self.refused) = ((batch.rows, size), None, None);
    }

    /// The run on batch `index`, of which `unreadable` were passed over, is over.
    ///
    /// # Errors
    /// [`Error::NonFiniteActivation`] where a tensor with a histogram was not finite; `sample` names the batch.
    pub(super) fn end(
        &mut self,
        index: usize,
        unreadable: Vec<Unreadable>,
        sample: impl FnOnce() -> String,
    ) -> Result<()> {
        if let Some((tensor, value)) = self.refused {
            let name = |index: usize| self.watches[index].name.clone();
            let origin = name(self.origin.unwrap_or(tensor));
            return Err(Error::NonFiniteActivation { tensor: name(tensor), value, sample: sample(), origin });
        }
        self.part.done.insert(index);
        self.part.unreadable.extend(unreadable.into_iter().map(|image| (image.index, image)));
        self.part.ranges.add_samples(self.rows.0);
        Ok(())
    }

    /// Moves everything seen since the last call to `total`.
    pub(super) fn hand_over(&mut self, total: &mut Observation) {
        let mut part = std::mem::take(&mut self.part);
        for (watch, count) in self.watches.iter().zip(&mut self.counts) {
            match std::mem::replace(count, Count::new(watch)) {
                Count::Histogram(histogram) => drop(part.histograms.insert(watch.name.clone(), histogram)),
                Count::Range(Some(range)) => part.ranges.add(&watch.name, range),
                Count::Range(None) => {}
            }
        }
        total.merge(&part);
    }
}

impl Count {
    fn new(watch: &Watch) -> Count {
        if watch.histogram { Count::Histogram(Histogram::default()) } else { Count::Range(None) }
    }
}

impl Watcher for Collector {
    fn see(&mut self, index: usize, shape: &[i64], values: &[f32]) {
        let values = leading_rows(shape, values, self.rows);
        let finite = match &mut self.counts[index] {
            Count::Histogram(histogram) => {
                let added = histogram.add(values);
                if let Err(element) = added
                    && self.refused.is_none_or(|(first, _)| index < first)
                {
                    self.refused = Some((index, element.value));
                }
                added.is_ok()
            }
            Count::Range(known) => {
                let range = Range::of(values);
                *known = known.map_or(range, |known| Some(range.map_or(known, |range| known.union(range))));
                range.is_none_or(Range::is_finite)
            }
        };
        if !finite {
            self.origin = Some(self.origin.map_or(index, |first| first.min(index)));
        }
    }
}

/// The elements that belong to the first `rows` of `batch` rows. A tensor whose first dimension is not the batch cannot be divided: it counts as a whole.
fn leading_rows<'v>(shape: &[i64], values: &'v [f32], (rows, batch): (usize, usize)) -> &'v [f32] {
    let divisible = shape.first().is_some_and(|&first| usize::try_from(first) == Ok(batch));
    if rows < batch && divisible { &values[..values.len() / batch * rows] } else { values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector() -> Collector {
        let watches = [("x", false), ("a", true), ("b", false), ("c", true)];
        Collector::new(watches.map(|(name, histogram)| Watch { name: name.into(), histogram }).into())
    }

    fn batch(rows: usize) -> Batch {
        Batch { inputs: vec![], rows, unreadable: vec![] }
    }

    #[test]
    fn repeated_rows_do_not_count() {
        let mut collector = collector();
        collector.begin(&batch(2), 3);
        collector.see(1, &[3, 2], &[1.0, 2.0, 3.0, 4.0, 9.0, 9.0]);
        collector.see(0, &[3], &[1.0, -2.0, 9.0]);
        collector.see(2, &[2, 2], &[1.0, 2.0, 3.0, 9.0]);
        collector.end(7, vec![], String::new).unwrap();
        let mut total = Observation::default();
        collector.hand_over(&mut total);
        let histogram = total.histogram("a").unwrap();
        assert_eq!((histogram.total(), histogram.max()), (4, 4.0));
        assert_eq!(total.ranges().get("x"), Some(Range { min: -2.0, max: 1.0 }));
        assert_eq!(total.ranges().get("b").unwrap().max, 9.0);
        assert_eq!(total.ranges().get("a"), Some(Range { min: 1.0, max: 4.0 }));
        assert_eq!((total.samples(), total.done), (2, [7].into()));
    }

    #[test]
    fn what_was_handed_over_is_not_counted_again() {
        let mut collector = collector();
        let mut total = Observation::default();
        for index in 0..3 {
            collector.begin(&batch(1), 1);
            collector.see(3, &[1], &[index as f32]);
            collector.end(index, vec![], String::new).unwrap();
            collector.hand_over(&mut total);
        }
        collector.hand_over(&mut total);
        assert_eq!((total.histogram("c").unwrap().total(), total.samples()), (3, 3));
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut collector = collector();
        collector.begin(&batch(1), 1);
        for index in [3, 1, 0] {
            collector.see(index, &[1], &[f32::NAN]);
        }
        let error = collector.end(0, vec![], || "a.jpg".into()).unwrap_err();
        let Error::NonFiniteActivation { tensor, sample, origin, .. } = error else { panic!("{error}") };
        assert_eq!((tensor.as_str(), sample.as_str(), origin.as_str()), ("a", "a.jpg", "x"));
    }

    #[test]
    fn values_without_a_histogram_may_be_infinite() {
        let mut collector = collector();
        collector.begin(&batch(1), 1);
        collector.see(2, &[1], &[f32::NEG_INFINITY]);
        collector.end(0, vec![], String::new).unwrap();
        let mut total = Observation::default();
        collector.hand_over(&mut total);
        assert_eq!(total.ranges().get("b").unwrap().amax(), f32::INFINITY);
    }
}
