//! What the tests of this crate share: the real library, the test models, and tiny ONNX models.
//!
//! A test that needs what this machine lacks says so and passes, unless `TRTFORGE_REQUIRE_LIBRARIES`
//! is 1, which continuous integration sets.
#![allow(dead_code)]

pub mod onnx;

use std::path::PathBuf;

use trtforge_tensorrt::{BuilderConfig, Error, Network, TensorRt};

fn required() -> bool {
    std::env::var("TRTFORGE_REQUIRE_LIBRARIES").is_ok_and(|value| value == "1")
}

fn skip<T>(why: &str) -> Option<T> {
    assert!(!required(), "TRTFORGE_REQUIRE_LIBRARIES=1, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// TensorRT, or a skip when it is not on this machine.
pub fn tensorrt() -> Option<TensorRt> {
    match TensorRt::load() {
        Ok(tensorrt) => Some(tensorrt),
        Err(Error::Missing(missing)) => skip(&missing.to_string()),
        Err(other) => panic!("TensorRT is here and does not load: {other:?}"),
    }
}

/// The bytes of a test model, or a skip when the test data is not on this machine.
pub fn model(name: &str) -> Option<Vec<u8>> {
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        return skip("TRTFORGE_TEST_DATA is not set");
    };
    let path = PathBuf::from(folder).join("models").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => skip(&format!("{} cannot be read: {error}", path.display())),
    }
}

/// A network filled from `model`, and a configuration, of a new builder.
pub fn ready(tensorrt: TensorRt, model: &[u8]) -> (trtforge_tensorrt::Builder, Network, BuilderConfig) {
    let builder = tensorrt.builder().expect("a builder");
    let mut network = builder.network().expect("a network");
    network.parse_onnx(model, None).expect("a model that TensorRT takes");
    let config = builder.config().expect("a configuration");
    (builder, network, config)
}
