//! What a loss counts, and that parts of it add up.

use trtforge_builder::AccuracyFloor;
use trtforge_builder::int8::Loss;
use trtforge_graph::Tensor;

const CHANNELS: AccuracyFloor = AccuracyFloor { sqnr_db: None, cosine: None, channel_db: Some(20.0) };
const WHOLE: AccuracyFloor = AccuracyFloor { sqnr_db: Some(20.0), cosine: None, channel_db: None };

fn named(shape: &[u64], values: &[f32]) -> Vec<(String, Tensor)> {
    vec![("y".to_owned(), Tensor::from_vec(shape.to_vec(), values.to_vec()).unwrap())]
}

fn loss(shape: &[u64], expected: &[f32], actual: &[f32]) -> Loss {
    let mut loss = Loss::default();
    loss.add(&named(shape, expected), &named(shape, actual));
    loss
}

/// One channel: background 1 everywhere, one answer of 9.
fn picture() -> Vec<f32> {
    (0..16).map(|pixel| if pixel == 5 { 9.0 } else { 1.0 }).collect()
}

#[test]
fn half_of_a_loss_is_that_of_the_peaks() {
    let mut weaker = picture();
    weaker[5] = 6.0;
    let found = loss(&[1, 1, 4, 4], &picture(), &weaker).share(&CHANNELS);
    // The mean is 1.5: background counts 0.25 an element, the answer 56.25.
    let (plain, peaks) = (9.0 / 96.0, 9.0 * 56.25 / (15.0 * 0.0625 + 56.25f64.powi(2)));
    assert!((found - (plain + peaks) / 2.0).abs() < 1e-9, "{found} is not the mean of {plain} and {peaks}");
}

#[test]
fn background_costs_less_than_an_answer() {
    let (mut answer, mut background) = (picture(), picture());
    answer[5] += 1.0;
    background[0] += 1.0;
    let of = |actual: &[f32]| loss(&[1, 1, 4, 4], &picture(), actual);
    assert!(of(&answer).share(&CHANNELS) > of(&background).share(&CHANNELS));
    assert_eq!(of(&answer).share(&WHOLE), of(&background).share(&WHOLE));
}

#[test]
fn losses_of_parts_add_up_to_that_of_all() {
    let sample = |seed: u64| -> Vec<f32> { (0..24).map(|i| ((i + seed) * 7919 % 97) as f32 / 9.0).collect() };
    let shape = [1, 2, 3, 4];
    let mut all = Loss::default();
    let mut parts = Loss::default();
    for seed in 0..5 {
        let (expected, actual) = (named(&shape, &sample(seed)), named(&shape, &sample(seed + 20)));
        all.add(&expected, &actual);
        let mut part = Loss::default();
        part.add(&expected, &actual);
        parts.merge(&part);
    }
    let outputs = |loss: &Loss| loss.channels_by_output().map(|(name, db)| (name.to_owned(), db)).collect::<Vec<_>>();
    assert!((all.share(&CHANNELS) - parts.share(&CHANNELS)).abs() < 1e-12 && all.share(&CHANNELS) > 0.0);
    assert!((all.share(&WHOLE) - parts.share(&WHOLE)).abs() < 1e-12);
    assert_eq!(outputs(&all).len(), outputs(&parts).len());
}

#[test]
fn the_worst_output_decides() {
    let tensor = |values: &[f32]| Tensor::from_vec(vec![2], values.to_vec()).unwrap();
    let outputs = |a: &[f32], b: &[f32]| vec![("a".to_owned(), tensor(a)), ("b".to_owned(), tensor(b))];
    let mut found = Loss::default();
    found.add(&outputs(&[1.0, 2.0], &[1.0, 2.0]), &outputs(&[1.0, 2.0], &[1.0, 1.0]));
    assert!(!found.reaches(&WHOLE) && found.share(&WHOLE) == 0.2);
    assert!(found.reaches(&AccuracyFloor { sqnr_db: Some(6.0), ..WHOLE }));
}

/// Four positions of a detector: two box coordinates and two classes, one row per position.
fn rows(boxes: [f32; 8], scores: [f32; 8]) -> Vec<f32> {
    (0..4).flat_map(|p| [boxes[2 * p], boxes[2 * p + 1], scores[2 * p], scores[2 * p + 1]]).collect()
}

const BOXES: [f32; 8] = [3.0, 4.0, -2.0, 5.0, 6.0, 1.5, 2.0, 7.0];
const SCORES: [f32; 8] = [0.9, 0.001, 0.0, 0.002, 0.0, 0.001, 0.0, 0.003];

#[test]
fn boxes_count_where_the_network_is_sure() {
    let of = |changed: usize| {
        let mut boxes = BOXES;
        boxes[changed] += 1.0;
        loss(&[1, 4, 4], &rows(BOXES, SCORES), &rows(boxes, SCORES)).share(&CHANNELS)
    };
    assert!(of(0) > 1000.0 * of(2), "{} where an object is, {} where nothing is", of(0), of(2));
}

#[test]
fn a_class_that_is_nowhere_hardly_counts() {
    let of = |changed: usize, by: f32| {
        let mut scores = SCORES;
        scores[changed] += by;
        loss(&[1, 4, 4], &rows(BOXES, SCORES), &rows(BOXES, scores)).share(&CHANNELS)
    };
    // The second class is three thousandths at most: as much again is all its signal, and next to nothing of what the output says.
    assert!(of(7, 0.003) < 1e-3, "{}", of(7, 0.003));
    assert!(of(0, -0.3) > 0.02, "{}", of(0, -0.3));
}

#[test]
fn scores_of_one_output_weigh_the_boxes_of_another() {
    let outputs = |boxes: &[f32]| {
        vec![
            ("boxes".to_owned(), Tensor::from_vec(vec![1, 4, 2], boxes.to_vec()).unwrap()),
            ("scores".to_owned(), Tensor::from_vec(vec![1, 4, 2], SCORES.to_vec()).unwrap()),
        ]
    };
    let of = |changed: usize| {
        let mut boxes = BOXES;
        boxes[changed] += 1.0;
        let mut loss = Loss::default();
        loss.add(&outputs(&BOXES), &outputs(&boxes));
        loss.share(&CHANNELS)
    };
    assert!(of(0) > 1000.0 * of(2));
}
