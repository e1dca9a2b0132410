//! What this machine offers the tests: the library and the models.

use std::path::PathBuf;

use trtforge_graph::{Dimension, ElementType, Model, Tensor, TensorType};
use trtforge_onnxruntime::{Error, IoInfo, OnnxRuntime, Optimization, Session, SessionConfig};

fn required() -> bool {
    std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_some_and(|value| value == "1")
}

/// The library, unless it is absent here.
pub fn runtime() -> Option<OnnxRuntime> {
    match OnnxRuntime::load() {
        Ok(runtime) => Some(runtime),
        Err(Error::Missing(missing)) if !required() => {
            eprintln!("skipped: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Every model of the test data, by file name.
pub fn models() -> Vec<(String, Model)> {
    let Some(folder) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        assert!(!required(), "TRTFORGE_TEST_DATA is not set");
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(PathBuf::from(folder).join("models"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), Model::read(&path).unwrap());
    paths.into_iter().map(read).collect()
}

pub fn plain() -> SessionConfig {
    SessionConfig { optimization: Optimization::Disabled, ..SessionConfig::default() }
}

/// Numbers of no particular pattern in -1..1, the same on every call.
pub fn noise(count: u64, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// An input for `info`; open dimensions become 1 in front (a batch) and 96 behind (a picture).
pub fn input(info: &IoInfo, seed: u64) -> Tensor {
    let shape = fixed(&info.ty);
    let count = shape.iter().product();
    assert_eq!(info.ty.element, ElementType::Float32, "{}", info.name);
    Tensor::from_vec(shape, noise(count, seed)).unwrap()
}

fn fixed(ty: &TensorType) -> Vec<u64> {
    let open = |axis| if axis == 0 { 1 } else { 96 };
    let size = |(axis, dimension): (usize, &Dimension)| dimension.fixed().unwrap_or(open(axis));
    ty.shape.as_ref().unwrap().iter().enumerate().map(size).collect()
}

/// Runs `session` on noise.
pub fn outputs(session: &mut Session) -> Vec<(String, Tensor)> {
    let inputs: Vec<(String, Tensor)> =
        session.inputs().iter().map(|info| (info.name.clone(), input(info, 7))).collect();
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    session.run(&inputs, None).unwrap()
}

/// Largest difference relative to the largest value.
pub fn relative_error(reference: &Tensor, other: &Tensor) -> f32 {
    assert_eq!(reference.shape, other.shape);
    let (a, b) = (reference.to_vec_f32().unwrap(), other.to_vec_f32().unwrap());
    let scale = a.iter().fold(1e-6f32, |scale, x| scale.max(x.abs()));
    a.iter().zip(&b).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs() / scale))
}
