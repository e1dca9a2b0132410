//! Whole calibrations with the real ONNX Runtime, on trained models and real photographs.
//!
//! Models and photographs come from the folder in `TRTFORGE_TEST_DATA`.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod independence;
mod resuming;

use std::path::{Path, PathBuf};
use trtforge_builder::calibration::histograms_path;
use trtforge_builder::{
    CalibrateOptions, CalibrationMethod, CalibrationOutcome, CancelFlag, Precision, PrepareOptions, Result,
    SampleSource, calibrate,
};
use trtforge_graph::construct::{model, node, tensor, tensor_value};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Model};
use trtforge_onnxruntime::OnnxRuntime;

/// Whether ONNX Runtime is here; where it must be, its absence fails the test.
fn library() -> bool {
    match OnnxRuntime::load() {
        Ok(_) => true,
        Err(error) if std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none() => {
            eprintln!("skipped: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// A path in the test data, or `None` with a note.
fn test_data(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("TRTFORGE_TEST_DATA")?).join(path);
    path.exists().then_some(path)
}

/// The first `count` photographs.
fn photographs(count: usize) -> Option<Vec<PathBuf>> {
    let folder = test_data("images/calibration")?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.truncate(count);
    Some(files)
}

/// Writes a list of images.
fn list(folder: &Path, name: &str, files: &[PathBuf]) -> PathBuf {
    let lines: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let path = folder.join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn options(model: &Path, samples: &Path, cache: PathBuf) -> CalibrateOptions {
    let mut prepare = PrepareOptions::new(model, Precision::Int8);
    prepare.samples = SampleSource::Path(samples.to_owned());
    CalibrateOptions { method: CalibrationMethod::Entropy, ..CalibrateOptions::new(prepare, cache) }
}

/// YOLOX-nano on a list of images.
fn yolox(samples: &Path, cache: PathBuf) -> Option<CalibrateOptions> {
    let mut options = options(&test_data("models/yolox_nano_416.onnx")?, samples, cache);
    let preprocess = "{fit: letterbox-top-left, order: bgr, pad: 114}";
    options.prepare.preprocess = Some(serde_saphyr::from_str(preprocess).unwrap());
    Some(options)
}

fn run(options: &CalibrateOptions) -> Result<CalibrationOutcome> {
    calibrate(options, &(), &CancelFlag::default())
}

/// The cache and the histograms behind it.
fn files(cache: &Path) -> (String, Vec<u8>) {
    (std::fs::read_to_string(cache).unwrap(), std::fs::read(histograms_path(cache)).unwrap())
}

/// `x [batch,3,8,8]`, lowered by `offset`, its square root (not a number below zero), a convolution without bias, ReLU, another convolution.
fn roots(folder: &Path, offset: f32, batch: u64) -> PathBuf {
    let mut graph = GraphProto::new();
    graph.name = Some("roots".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [batch, 3, 8, 8]));
    graph.output.push(tensor_value("y", ElementType::Float32, [batch, 4, 8, 8]));
    let weights = |count: u64| (0..count).map(|index| ((index * 7919 % 101) as f32 - 40.0) / 100.0).collect();
    graph.initializer = vec![
        tensor::<f32>("offset", [1], vec![offset]),
        tensor::<f32>("w1", [4, 3, 3, 3], weights(108)),
        tensor::<f32>("w2", [4, 4, 3, 3], weights(144)),
    ];
    graph.node = vec![
        node("Sub", "sub", ["x", "offset"], ["lowered"]),
        node("Sqrt", "sqrt", ["lowered"], ["root"]),
        node("Conv", "conv1", ["root", "w1"], ["c"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Relu", "relu", ["c"], ["r"]),
        node("Conv", "conv2", ["r", "w2"], ["y"]).attr_ints("pads", [1, 1, 1, 1]),
    ];
    let path = folder.join("roots.onnx");
    Model::from_proto(model(graph, 9, 17)).write(&path).unwrap();
    path
}
