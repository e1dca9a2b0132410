//! Histograms against one that is filled value by value in 64 bits.

use proptest::prelude::*;
use trtforge_builder::calibration::{BINS, Histogram};

/// What a histogram of `values` must be: the range from a comparison in 64 bits, each bin from a division.
struct Reference {
    range: f64,
    counts: Vec<u64>,
}

impl Reference {
    fn of(values: &[f32]) -> Self {
        let amax = values.iter().fold(0.0f64, |amax, &value| amax.max(f64::from(value).abs()));
        let mut range = (-100f64).exp2();
        while amax >= range {
            range *= 2.0;
        }
        let mut counts = vec![0; BINS];
        for &value in values {
            counts[(f64::from(value).abs() / (range / BINS as f64)).floor() as usize] += 1;
        }
        Reference { range, counts }
    }
}

fn histogram(values: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(values).unwrap();
    histogram
}

fn bytes(histogram: &Histogram) -> Vec<u8> {
    let mut bytes = vec![];
    histogram.encode(&mut bytes);
    bytes
}

/// Bitwise, so that the two zeros differ.
fn assert_same(a: &Histogram, b: &Histogram) {
    assert_eq!(a, b);
    assert_eq!(bytes(a), bytes(b));
}

fn assert_right(values: &[f32]) {
    let (histogram, reference) = (histogram(values), Reference::of(values));
    assert_eq!(histogram.range(), reference.range);
    assert_eq!(f64::from(histogram.bin_width()) * BINS as f64, reference.range);
    assert_eq!(histogram.counts().as_slice(), reference.counts);
    assert_eq!(histogram.zeros(), values.iter().filter(|value| **value == 0.0).count() as u64);
    assert_eq!(histogram.total(), values.len() as u64);
    let used = reference.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    assert_eq!(histogram.counts_in_use().len(), used);
}

/// Every finite number, with those at edges more often than chance would have them.
fn element() -> impl Strategy<Value = f32> {
    let powers = (-149i32..128, -1i32..=1, any::<bool>()).prop_map(|(exponent, step, negative)| {
        let power = f64::from(exponent).exp2() as f32;
        let near = f32::from_bits((power.to_bits() as i32 + step).max(0) as u32);
        if negative { -near } else { near }
    });
    let any_finite = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite());
    prop_oneof![
        4 => -8.0f32..8.0,
        2 => prop_oneof![Just(0.0f32), Just(-0.0), Just(f32::MAX), Just(f32::MIN), Just(f32::MIN_POSITIVE), Just(1.0e-45)],
        2 => powers.prop_filter("finite", |value| value.is_finite()),
        1 => any_finite,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn bins_are_those_of_a_division(values in prop::collection::vec(element(), 0..300)) {
        assert_right(&values);
    }

    #[test]
    fn order_splits_and_merges_leave_no_trace(
        (values, shuffled) in prop::collection::vec(element(), 0..200).prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
        cuts in prop::collection::vec(0usize..200, 0..5),
        merged_backwards in any::<bool>(),
    ) {
        let whole = histogram(&values);
        let (mut streamed, mut parts, mut rest) = (Histogram::default(), vec![], shuffled.as_slice());
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            streamed.add(head).unwrap();
            parts.push(histogram(head));
            rest = tail;
        }
        assert_same(&streamed, &whole);
        if merged_backwards {
            parts.reverse();
        }
        let mut merged = Histogram::default();
        parts.iter().for_each(|part| merged.merge(part));
        assert_same(&merged, &whole);
    }

    #[test]
    fn a_non_finite_element_is_named_and_nothing_counted(
        before in prop::collection::vec(element(), 0..20),
        lead in 0usize..9000,
        tail in prop::collection::vec(element(), 1..40),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 1..4),
    ) {
        let mut counted = histogram(&before);
        let mut values = vec![0.5; lead];
        values.extend(tail);
        for (place, nan, negative) in &places {
            let bad = if *nan { f32::NAN } else { f32::INFINITY };
            *place.get_mut(&mut values) = if *negative { -bad } else { bad };
        }
        let error = counted.add(&values).unwrap_err();
        prop_assert_eq!(error.index, values.iter().position(|value| !value.is_finite()).unwrap());
        prop_assert_eq!(error.value.to_bits(), values[error.index].to_bits());
        assert_same(&counted, &histogram(&before));
    }

    #[test]
    fn what_is_encoded_is_decoded(values in prop::collection::vec(element(), 0..100), tail in prop::collection::vec(any::<u8>(), 0..9)) {
        let whole = histogram(&values);
        let mut stream = bytes(&whole);
        prop_assert_eq!(stream.len(), 20 + 8 * whole.counts_in_use().len());
        stream.extend(&tail);
        let mut rest = stream.as_slice();
        assert_same(&Histogram::decode(&mut rest).unwrap(), &whole);
        prop_assert_eq!(rest, tail);
    }

    #[test]
    fn damaged_bytes_give_none_or_a_sound_histogram(
        values in prop::collection::vec(element(), 0..40), place in any::<prop::sample::Index>(), byte in any::<u8>(), header in any::<bool>(),
    ) {
        let mut stream = bytes(&histogram(&values));
        let reach = if header { 20 } else { stream.len() };
        stream[place.index(reach)] = byte;
        if let Some(read) = Histogram::decode(&mut stream.as_slice()) {
            prop_assert_eq!(bytes(&read), stream);
        }
    }

    #[test]
    fn cut_bytes_give_none(values in prop::collection::vec(element(), 0..40), place in any::<prop::sample::Index>()) {
        let stream = bytes(&histogram(&values));
        prop_assert!(Histogram::decode(&mut &stream[..place.index(stream.len())]).is_none());
    }
}

#[test]
fn long_slices_with_runs_and_a_late_maximum() {
    let mut values: Vec<f32> =
        (0..20_011).map(|index| if index % 7 < 4 { 0.0 } else { (index as f32).sin() }).collect();
    values[17_000] = -1000.5;
    values[9000] = 512.0;
    assert_right(&values);
}

#[test]
fn the_whole_range_of_the_numbers() {
    assert_right(&[f32::MAX, f32::MIN_POSITIVE, 1.0e-45, -0.0]);
    let largest = histogram(&[f32::MAX, 1.0]);
    assert_eq!(largest.range(), 128f64.exp2());
    assert!(largest.bin_width().is_finite());
    assert_eq!(largest.counts()[BINS - 1], 1);
    assert_right(&[1.0e-45]);
    assert!(histogram(&[1.0e-45]).bin_width().is_normal());
}

#[test]
fn a_power_of_two_opens_the_upper_half() {
    for exponent in [-100, -99, -1, 0, 1, 127] {
        let power = f64::from(exponent).exp2() as f32;
        let at = histogram(&[power]);
        assert_eq!((at.range(), at.counts()[BINS / 2]), (2.0 * f64::from(power), 1), "2^{exponent}");
        let below = histogram(&[f32::from_bits(power.to_bits() - 1)]);
        assert_eq!((below.range(), below.counts()[BINS - 1]), (f64::from(power), 1), "just below 2^{exponent}");
    }
}

#[test]
fn nothing_and_dead_tensors() {
    let mut empty = Histogram::default();
    empty.add(&[]).unwrap();
    assert_same(&empty, &Histogram::default());
    assert!(empty.is_empty() && empty.counts_in_use().is_empty() && empty.amax() == 0.0);
    let dead = histogram(&[0.0, -0.0, 0.0]);
    assert_same(&dead, &histogram(&[-0.0, 0.0, 0.0]));
    assert_eq!(histogram(&[-0.0]).min().to_bits(), 0.0f32.to_bits());
    assert_eq!((dead.zeros(), dead.total(), dead.amax(), dead.counts_in_use()), (3, 3, 0.0, [3].as_slice()));
}

#[test]
fn decoding_refuses_what_no_values_can_give() {
    let sound = bytes(&histogram(&[0.0, 0.5, -1.5]));
    let refused = |place: usize, replacement: &[u8]| {
        let mut stream = sound.clone();
        stream[place..place + replacement.len()].copy_from_slice(replacement);
        assert!(Histogram::decode(&mut stream.as_slice()).is_none(), "{replacement:?} at {place}");
    };
    refused(0, &2i16.to_le_bytes());
    refused(0, &i16::MAX.to_le_bytes());
    refused(2, &f32::NAN.to_le_bytes());
    refused(2, &1.0f32.to_le_bytes());
    refused(6, &f32::INFINITY.to_le_bytes());
    refused(6, &(-0.0f32).to_le_bytes());
    refused(10, &9u64.to_le_bytes());
    refused(18, &1u16.to_le_bytes());
    refused(18, &2049u16.to_le_bytes());
    refused(20, &u64::MAX.to_le_bytes());
    refused(sound.len() - 8, &[0; 8]);
}
