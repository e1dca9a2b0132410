//! What every photograph costs beside the network: into the input, and out of 8,400 anchors of 80 classes.
#![allow(clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use trtforge_vision::{
    Candidates, Fit, Input, OutputShape, Placement, Preprocess, RgbImage, Selection, Size, Suppressor, Values, choose,
};

const SIDE: u32 = 640;
const ANCHORS: usize = 8400;
const CLASSES: usize = 80;

/// Numbers from 0 to 1 that look random.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn preprocess(bench: &mut Criterion) {
    let noise = noise(1920 * 1080 * 3);
    let pixels: Vec<u8> =
        noise.iter().enumerate().map(|(at, noise)| (at / 97 % 200) as u8 + (noise * 55.0) as u8).collect();
    let image = RgbImage::from_raw(1920, 1080, pixels).unwrap();
    let input = Input::rgb(SIDE, SIDE);
    let mut tensor = vec![0.0; input.elements()];
    for (name, fit) in [("stretch", Fit::Stretch), ("letterbox", Fit::Letterbox)] {
        let settings = Preprocess { fit, scale: 1.0 / 255.0, ..Preprocess::default() };
        bench.bench_function(&format!("1920x1080 to 640, {name}"), |bencher| {
            bencher.iter(|| settings.fill(black_box(&image), input, black_box(&mut tensor)).unwrap());
        });
    }
}

fn postprocess(bench: &mut Criterion) {
    let scores: Vec<f32> = noise(ANCHORS * CLASSES).iter().map(|noise| noise.powi(400)).collect();
    let places = noise(ANCHORS * 4);
    let boxes: Vec<f32> = places
        .as_chunks::<4>()
        .0
        .iter()
        .flat_map(|at| {
            let (x, y) = (at[0] * 500.0, at[1] * 500.0);
            [x, y, x + 10.0 + at[2] * 120.0, y + 10.0 + at[3] * 120.0]
        })
        .collect();
    let shapes =
        [OutputShape::fractions("scores", &[1, ANCHORS, CLASSES]), OutputShape::fractions("boxes", &[1, ANCHORS, 4])];
    let size = Size { width: SIDE, height: SIDE };
    let decoder = choose(&shapes, size).unwrap();
    let placement = Placement::new(Fit::Stretch, size, size);
    let mut suppressor = Suppressor::default();
    for score in [0.25, 0.05, 0.001] {
        let selection = Selection { score, iou: Some(0.7), max: 500, ..Selection::default() };
        let mut candidates = Candidates::new(score);
        decoder.decode(&[Values::F32(&scores), Values::F32(&boxes)], 1, 0, &mut candidates).unwrap();
        let name = format!("8400 x 80, score {score}, {} candidates", candidates.len());
        bench.bench_function(&name, |bencher| {
            bencher.iter(|| {
                let outputs = [Values::F32(black_box(&scores)), Values::F32(black_box(&boxes))];
                decoder.decode(&outputs, 1, 0, &mut candidates).unwrap();
                black_box(selection.select(&candidates, &mut suppressor, &placement, size))
            });
        });
    }
}

criterion_group!(benches, preprocess, postprocess);
criterion_main!(benches);
