//! Whole builds with the real TensorRT and the real ONNX Runtime: trained models that others made, at every precision.
//!
//! Building needs no GPU. Models and photographs come from the folder in `TRTFORGE_TEST_DATA`.
#![allow(clippy::unwrap_used)]

mod activation;
mod bad_input;
mod int8;
mod lean;
mod outputs;
mod stages;
mod trained_models;

use std::path::PathBuf;
use std::sync::Arc;
use trtforge_builder::{BuildOptions, BuildOutcome, CancelFlag, Precision, PrepareOptions, Progress, Result, build};
use trtforge_tensorrt::TensorRt;

/// Whether TensorRT is here; where it must be, its absence fails the test.
fn libraries() -> bool {
    match TensorRt::load() {
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
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return None;
    };
    let path = PathBuf::from(folder).join(path);
    if !path.exists() {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

fn run(options: &BuildOptions) -> Result<BuildOutcome> {
    let progress: Arc<dyn Progress> = Arc::new(());
    build(options, &progress, &CancelFlag::default())
}

fn mnist(folder: &tempfile::TempDir, precision: Precision) -> Option<BuildOptions> {
    let model = test_data("models/mnist_winml.onnx")?;
    Some(BuildOptions::new(PrepareOptions::new(model, precision), folder.path().join("mnist.engine")))
}
