//! Counting magnitudes, for what networks give, and choosing a threshold from the counts.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use trtforge_builder::calibration::{Histogram, Method, threshold};

const ELEMENTS: u64 = 1 << 20;

/// Numbers around zero that look random, from the golden ratio's multiples.
fn noise(index: u64) -> f32 {
    let word = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (word >> 40) as f32 / (1 << 24) as f32 - 0.5
}

/// A sum of six, which is close to a Gaussian.
fn signed() -> Vec<f32> {
    (0..ELEMENTS).map(|index| (0..6).map(|part| noise(6 * index + part)).sum()).collect()
}

fn add(criterion: &mut Criterion) {
    let signed = signed();
    let relu: Vec<f32> = signed.iter().map(|value| value.max(0.0)).collect();
    let inputs = [("signed", signed), ("relu", relu), ("equal", vec![0.0; ELEMENTS as usize])];
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(ELEMENTS));
    for (name, values) in &inputs {
        let mut histogram = Histogram::default();
        group.bench_function(*name, |b| b.iter(|| histogram.add(black_box(values)).expect("all are finite")));
    }
    group.throughput(Throughput::Elements(100));
    let mut histogram = Histogram::default();
    group.bench_function("hundred", |b| {
        b.iter(|| histogram.add(black_box(&inputs[0].1[..100])).expect("all are finite"))
    });
    group.finish();
}

fn choose(criterion: &mut Criterion) {
    let mut histogram = Histogram::default();
    histogram.add(&signed()).expect("all are finite");
    let mut group = criterion.benchmark_group("threshold");
    for method in [Method::DEFAULT_PERCENTILE, Method::Mse, Method::Entropy] {
        group.bench_function(method.to_string(), |b| b.iter(|| threshold(black_box(&histogram), method)));
    }
    group.finish();
}

criterion_group!(benches, add, choose);
criterion_main!(benches);
