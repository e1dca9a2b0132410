//! The search over cuts against all cuts of small runs, and memory counted the slow way.

use proptest::prelude::*;
use std::ops::RangeInclusive;
use trtforge_graph::segmentation::{Chain, MOST_CUTS, SegmentMemory, Segments, Span, Step};

fn chains() -> impl Strategy<Value = Chain> {
    (2u32..9).prop_flat_map(|steps| {
        let steps_of = [0..steps, 0..steps, 0..steps];
        let value = (0..50u64, steps_of, prop::bool::weighted(0.2), prop::bool::weighted(0.8));
        let value = value.prop_map(|(bytes, mut at, is_external, has_place)| {
            at.sort_unstable();
            let [reserved, first, last] = at;
            Span { bytes, first, last, is_external, reserved_from: has_place.then_some(reserved) }
        });
        // Each weight is a list of readers; a segment holds it once.
        let weight = (1..40u64, prop::collection::btree_set(0..steps, 1..4));
        let scratch = prop::collection::vec(0..30u64, steps as usize);
        let cuts = prop::collection::btree_set(0..steps - 1, 0..steps as usize);
        (prop::collection::vec(value, 0..12), prop::collection::vec(weight, 0..8), scratch, cuts).prop_map(
            |(values, weights, scratch, cuts)| {
                let mut steps: Vec<Step> =
                    scratch.into_iter().map(|scratch_bytes| Step { weights: vec![], scratch_bytes }).collect();
                for (bytes, readers) in weights {
                    let mut previous = None;
                    for reader in readers {
                        steps[reader as usize].weights.push((bytes, previous));
                        previous = Some(reader);
                    }
                }
                Chain { steps, values, cuts: cuts.into_iter().collect() }
            },
        )
    })
}

/// The memory of a segment by its definition.
fn memory(chain: &Chain, segment: &RangeInclusive<u32>) -> SegmentMemory {
    let (from, to) = (*segment.start(), *segment.end());
    let reads_first = |previous: &Option<u32>| previous.is_none_or(|previous| previous < from);
    let steps = segment.clone().map(|step| &chain.steps[step as usize]);
    let weights = steps.flat_map(|step| &step.weights).filter(|(_, previous)| reads_first(previous));
    let own = |value: &&Span| !value.is_external && value.first >= from && value.last <= to;
    let at = |step: u32| {
        let is_held = |value: &&Span| value.reserved_from.is_some_and(|from| (from..=value.last).contains(&step));
        let values = chain.values.iter().filter(own).filter(is_held);
        chain.steps[step as usize].scratch_bytes + values.map(|value| value.bytes).sum::<u64>()
    };
    let boundary = chain.values.iter().filter(|value| !own(value) && value.first <= to && value.last >= from);
    SegmentMemory {
        weights_bytes: weights.map(|(bytes, _)| bytes).sum(),
        activation_bytes: segment.clone().map(at).max().expect("a segment has a step"),
        boundary_bytes: boundary.map(|value| value.bytes).sum(),
    }
}

fn segments_of(chain: &Chain, cuts: &[u32]) -> Vec<RangeInclusive<u32>> {
    let starts = [0].into_iter().chain(cuts.iter().map(|cut| cut + 1));
    let ends = cuts.iter().copied().chain([chain.steps.len() as u32 - 1]);
    starts.zip(ends).map(|(start, end)| start..=end).collect()
}

fn carried(chain: &Chain, segments: &[RangeInclusive<u32>]) -> u64 {
    let across = |start: u32| chain.values.iter().filter(move |value| value.first < start && value.last >= start);
    segments.iter().map(|segment| across(*segment.start()).map(|value| value.bytes).sum::<u64>()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_other_cut_has_a_smaller_peak_or_carries_less_at_the_same(chain in chains()) {
        let search = Segments::new(&chain);
        prop_assert_eq!(search.most(), chain.cuts.len() + 1);
        for count in 1..=search.most() {
            let all = (0u32..1 << chain.cuts.len()).filter(|set| set.count_ones() as usize + 1 == count).map(|set| {
                let cuts: Vec<u32> = (0..chain.cuts.len()).filter(|bit| set >> bit & 1 == 1).map(|bit| chain.cuts[bit]).collect();
                let segments = segments_of(&chain, &cuts);
                let peak = segments.iter().map(|segment| memory(&chain, segment).total_bytes()).max().unwrap();
                (peak, carried(&chain, &segments))
            });
            let least = all.min().unwrap();
            let found = search.best(count).unwrap();
            prop_assert_eq!(found.segments.len(), count);
            prop_assert_eq!((found.peak_bytes(), carried(&chain, &found.segments)), least);
            for (segment, counted) in found.segments.iter().zip(&found.memory) {
                prop_assert_eq!(memory(&chain, segment), *counted);
            }
            prop_assert_eq!(search.at(&found.segments), Some(found.clone()));
            for segment in &found.segments[1..] {
                let start = *segment.start();
                let places = chain.cuts.iter().map(|cut| cut + 1);
                let [before, after] = search.beside(start);
                prop_assert_eq!(before, places.clone().filter(|&place| place < start).max());
                prop_assert_eq!(after, places.filter(|&place| place > start).min());
            }
        }
        prop_assert_eq!(search.best(search.most() + 1), None);
        prop_assert_eq!(search.best(0), None);
    }
}

/// A chain of `count` steps with a value of one byte from each to the next.
fn long(count: u32) -> Chain {
    let value = |first| Span::new(1, first, first + 1);
    let step = || Step { weights: vec![(10, None)], scratch_bytes: 0 };
    Chain {
        steps: (0..count).map(|_| step()).collect(),
        values: (0..count - 1).map(value).collect(),
        cuts: (0..count - 1).collect(),
    }
}

#[test]
fn segments_that_are_not_between_places_are_none() {
    let mut chain = long(6);
    chain.cuts = vec![1, 3];
    let search = Segments::new(&chain);
    assert_eq!(search.at(&[0..=1, 2..=5]).map(|cut| cut.memory.len()), Some(2));
    for segments in [vec![0..=2, 3..=5], vec![2..=5], vec![0..=1], vec![0..=1, 4..=5], vec![]] {
        assert_eq!(search.at(&segments), None, "{segments:?}");
    }
}

#[test]
fn a_run_without_steps_is_one_segment() {
    let found = Segments::new(&Chain::default()).best(1).unwrap();
    assert_eq!((found.segments.len(), found.peak_bytes()), (1, 0));
}

#[test]
fn weights_are_shared_out_evenly() {
    let found = Segments::new(&long(40)).best(4).unwrap();
    let weights: Vec<u64> = found.memory.iter().map(|memory| memory.weights_bytes).collect();
    assert_eq!(weights, [100, 100, 100, 100]);
}

#[test]
fn of_too_many_places_the_narrowest_are_looked_at() {
    let count = MOST_CUTS as u32 + 100;
    let mut chain = long(count);
    chain.values[7].bytes = 0;
    let search = Segments::new(&chain);
    assert_eq!(search.most(), MOST_CUTS + 1);
    let narrow = search.best(2).unwrap();
    assert_eq!(narrow.segments.len(), 2);
}
