//! The generated networks run, and their random weights behave: on photographs nothing vanishes, explodes or saturates.

use std::path::{Path, PathBuf};

use trtforge_graph::{Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};
use trtforge_zoo::{Batch, Options, Variant, generate};

const CLASSES: usize = 80;

fn runtime() -> OnnxRuntime {
    OnnxRuntime::load().expect("ONNX Runtime is there after `make setup`")
}

fn model(options: &Options) -> Model {
    generate(options).expect("valid options")
}

/// Outputs as numbers, in the model's order.
fn run(model: &Model, images: &Tensor) -> Vec<Vec<f32>> {
    let mut session = runtime().session(model, &SessionConfig::default()).expect("opens");
    let outputs = session.run(&[("images", images)], None).expect("runs");
    outputs.into_iter().map(|(_, tensor)| tensor.to_vec_f32().expect("float32")).collect()
}

/// Pixels 0..255 without any structure.
fn static_noise(images: usize, size: usize) -> Tensor {
    let mut state = 1_u32;
    let mut pixel = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32
    };
    let pixels: Vec<f32> = (0..images * 3 * size * size).map(|_| pixel()).collect();
    Tensor::from_vec(vec![images as u64, 3, size as u64, size as u64], pixels).expect("as many pixels as the shape")
}

/// Some of the test photographs, where they are at hand.
fn photographs() -> Vec<PathBuf> {
    let Some(data) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return vec![];
    };
    let folder = Path::new(&data).join("images/calibration");
    let entries = std::fs::read_dir(&folder).expect("photographs in the test data");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().step_by(37).take(2).collect()
}

/// RGB 0..255, stretched to a square.
fn pixels(path: &Path, size: u32) -> Tensor {
    let photograph = image::open(path).expect("a photograph").to_rgb8();
    let square = image::imageops::resize(&photograph, size, size, image::imageops::FilterType::Triangle);
    let planes = (0..3).flat_map(|channel| square.pixels().map(move |pixel| f32::from(pixel.0[channel])));
    let size = u64::from(size);
    Tensor::from_vec(vec![1, 3, size, size], planes.collect()).expect("as many pixels as the shape")
}

#[test]
fn a_batch_of_three_is_three_single_images() {
    for variant in Variant::ALL {
        let options = Options { batch: Batch::Dynamic, size: Some(160), ..Options::new(variant) };
        let model = model(&options);
        let images = static_noise(3, 160);
        let together = run(&model, &images);
        let length = 3 * 160 * 160;
        for index in 0..3 {
            let pixels = images.as_slice::<f32>().expect("float32")[index * length..][..length].to_vec();
            let alone = run(&model, &Tensor::from_vec(vec![1, 3, 160, 160], pixels).expect("one image"));
            for (together, alone) in together.iter().zip(&alone) {
                let part = &together[index * alone.len()..][..alone.len()];
                assert!(part.iter().zip(alone).all(|(a, b)| (a - b).abs() <= 1e-3), "{variant}, image {index}");
            }
        }
    }
}

/// Softmax over the bins of one side at one cell, then the expected bin.
fn distance(map: &[f32], bins: usize, side: usize, cells: usize, cell: usize) -> f64 {
    let logits: Vec<f64> = (0..bins).map(|bin| f64::from(map[(side * bins + bin) * cells + cell])).collect();
    let shares: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.iter().enumerate().map(|(bin, share)| bin as f64 * share / total).sum()
}

#[test]
fn decoded_outputs_follow_from_the_raw_maps() {
    for (variant, bins) in [(Variant::T, 17), (Variant::Ns, 8)] {
        let options = Options { size: Some(96), ..Options::new(variant) };
        let images = static_noise(1, 96);
        let [scores, boxes] = run(&model(&options), &images).try_into().expect("two outputs");
        let maps = run(&model(&Options { raw: true, ..options }), &images);
        let mut position = 0;
        for (level, stride) in [8, 16, 32].into_iter().enumerate() {
            let (width, cells) = (96 / stride, (96 / stride) * (96 / stride));
            for cell in 0..cells {
                for class in 0..CLASSES {
                    let difference = scores[position * CLASSES + class] - maps[level][class * cells + cell];
                    assert!(difference.abs() < 1e-5, "{variant}, score of class {class} at {position}");
                }
                let (x, y) = (((cell % width) * stride) as f64, ((cell / width) * stride) as f64);
                for (side, (point, sign)) in [(x, -1.0), (y, -1.0), (x, 1.0), (y, 1.0)].into_iter().enumerate() {
                    let distance = distance(&maps[3 + level], bins, side, cells, cell) * stride as f64;
                    let edge = f64::from(boxes[position * 4 + side]);
                    assert!((edge - (point + sign * distance)).abs() < 1e-2, "{variant}, side {side} at {position}");
                }
                position += 1;
            }
        }
        assert_eq!((scores.len(), boxes.len()), (position * CLASSES, position * 4));
    }
}

/// Deviation over all values, and the largest magnitude.
fn range(values: &[f32]) -> (f64, f32) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (variance.sqrt(), values.iter().fold(0.0, |largest, x| largest.max(x.abs())))
}

/// The largest half-precision number is 65504.
#[test]
fn activations_keep_a_useful_range_that_fits_half_precision() {
    let photographs = photographs();
    for variant in Variant::ALL {
        let model = model(&Options::new(variant));
        let nodes = model.proto().graph.node.iter();
        let kinds = ["Conv", "Add", "Relu", "Mul"];
        let inner = nodes.filter(|node| kinds.contains(&node.op_type()) && !node.name().starts_with("decode."));
        let names: Vec<&str> = inner.map(|node| node.output[0].as_str()).collect();
        let config = SessionConfig { memory_arena: false, ..SessionConfig::default() };
        let mut observer = runtime().observe(&model, &names, &config).expect("opens");
        for path in &photographs {
            let images = pixels(path, variant.default_size());
            let check = |name: &str, tensor: &Tensor| {
                let (deviation, largest) = range(tensor.as_slice::<f32>().expect("float32"));
                assert!((0.1..30.0).contains(&deviation), "{variant}, {name}: deviation {deviation}");
                assert!(largest < 1000.0, "{variant}, {name}: {largest}");
            };
            observer.run(&[("images", &images)], check).expect("runs");
        }
    }
}

fn quantile(values: &mut [f32], share: f64) -> f32 {
    let index = ((values.len() - 1) as f64 * share) as usize;
    *values.select_nth_unstable_by(index, f32::total_cmp).1
}

#[test]
fn scores_are_spread_and_boxes_plausible() {
    let photographs = photographs();
    for variant in Variant::ALL {
        let model = model(&Options::new(variant));
        for path in &photographs {
            let outputs = run(&model, &pixels(path, variant.default_size()));
            let [mut scores, boxes] = outputs.try_into().expect("two outputs");
            let quantiles = [0.01, 0.5, 0.99, 1.0].map(|share| quantile(&mut scores, share));
            let [low, middle, high, top] = quantiles;
            assert!(low < 0.002 && (0.001..0.02).contains(&middle), "{variant}: scores {quantiles:?}");
            assert!((0.015..0.6).contains(&high) && top > 0.1, "{variant}: scores {quantiles:?}");
            let mut widths: Vec<f32> = boxes.chunks_exact(4).map(|corners| corners[2] - corners[0]).collect();
            assert!(widths.iter().all(|width| (0.0..=2.0 * 16.0 * 32.0).contains(width)), "{variant}: widths");
            let [narrow, wide] = [0.05, 0.95].map(|share| quantile(&mut widths, share));
            assert!(narrow > 4.0 && wide > 2.0 * narrow, "{variant}: widths from {narrow} to {wide}");
        }
    }
}
