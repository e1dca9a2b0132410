//! ONNX models in sessions, against ONNX Runtime asked directly.

use std::path::{Path, PathBuf};

use trtforge_graph::{Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};
use trtforge_runtime::{Class, Engine, EngineOptions, Error, Host, Ledger, Request, SessionOptions};

use crate::functions::range;

fn required() -> bool {
    std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_some_and(|value| value == "1")
}

/// A model of the test data; nothing where the library or the data are absent, which is said.
pub fn model(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TRTFORGE_TEST_DATA").map(|folder| PathBuf::from(folder).join("models"));
    let library = OnnxRuntime::load();
    if folder.is_none() || library.is_err() {
        assert!(!required(), "TRTFORGE_TEST_DATA or ONNX Runtime is missing: {library:?}");
        eprintln!("skipped: TRTFORGE_TEST_DATA or ONNX Runtime is missing");
        return None;
    }
    folder.map(|folder| folder.join(name))
}

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

/// What ONNX Runtime itself gives: name, shape and values of each output.
fn reference(path: &Path, shape: &[u64], values: &[f32]) -> Vec<(String, Vec<u64>, Vec<f32>)> {
    let model = Model::read(path).unwrap();
    let mut session = OnnxRuntime::load().unwrap().session(&model, &SessionConfig::default()).unwrap();
    let input = session.inputs()[0].name.clone();
    let tensor = Tensor::from_vec(shape.to_vec(), values.to_vec()).unwrap();
    let outputs = session.run(&[(&input, &tensor)], None).unwrap();
    outputs.into_iter().map(|(name, it)| (name, it.shape.clone(), it.to_vec_f32().unwrap())).collect()
}

fn agrees(path: &Path, request: Request, shapes: &[&[u64]]) {
    let (host, ledger) = (Host::new(), Ledger::default());
    let options = EngineOptions { ledger: ledger.clone(), host: host.clone(), ..EngineOptions::default() };
    let engine = options.open(path).unwrap();
    let plan = engine.plan(&request).unwrap();
    let input = engine.signature().inputs[0].name.clone();
    let mut session = engine.session(request.into()).unwrap();
    assert_eq!(ledger.held(), plan);
    for (seed, shape) in shapes.iter().enumerate() {
        let values = noise(shape.iter().product(), seed as u64 + 1);
        let expected = reference(path, shape, &values);
        for slot in 0..session.slots() {
            let mut slot = session.slot(slot).unwrap();
            slot.set_shape(&input, shape).unwrap();
            slot.input::<f32>(&input).unwrap().copy_from_slice(&values);
            let ticket = slot.submit().unwrap();
            session.wait(ticket).unwrap();
        }
        for slot in 0..session.slots() {
            let mut slot = session.slot(slot).unwrap();
            for (name, shape, values) in &expected {
                assert_eq!(&*slot.output_shape(name).unwrap(), shape.as_slice());
                let got = slot.output::<f32>(name).unwrap();
                let scale = values.iter().fold(1e-6f32, |most, value| most.max(value.abs()));
                let worst = got.iter().zip(values).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs() / scale));
                assert!(worst < 1e-5 && got.len() == values.len(), "{name} differs by {worst}");
            }
        }
    }
    drop(session);
    assert_eq!((host.used_bytes(), host.damage()), (0, vec![]));
}

#[test]
fn fixed_models_give_what_onnx_runtime_gives() {
    for (name, shape) in [("mnist_winml.onnx", &[1, 1, 28, 28][..]), ("ultraface_rfb_320.onnx", &[1, 3, 240, 320])] {
        let Some(path) = model(name) else { return };
        agrees(&path, Request::default().slots(2), &[shape, shape]);
    }
}

#[test]
fn a_batch_that_changes_gives_what_onnx_runtime_gives() {
    let Some(path) = model("superres_10.onnx") else { return };
    agrees(&path, Request::batch(3), &[&[3, 1, 224, 224], &[1, 1, 224, 224], &[2, 1, 224, 224]]);
}

#[test]
fn height_and_width_that_change_give_what_onnx_runtime_gives() {
    let Some(path) = model("ppocr_v3_det.onnx") else { return };
    let request = Request::default().shape("x", range(&[1, 3, 32, 32], &[1, 3, 160, 192]));
    agrees(&path, request, &[&[1, 3, 64, 96], &[1, 3, 160, 192], &[1, 3, 32, 32]]);
}

#[test]
fn a_model_opens_from_memory_and_from_a_reader_as_from_its_file() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let bytes = std::fs::read(&path).unwrap();
    let options = EngineOptions::default();
    let engines = [
        Engine::open(&path).unwrap(),
        options.from_bytes("in memory", bytes.clone(), None).unwrap(),
        options.read("reader", &bytes[..]).unwrap(),
    ];
    let mut answers = engines.iter().map(|engine| {
        let mut session = engine.session(SessionOptions::default()).unwrap();
        session.input::<f32>("Input3").unwrap().copy_from_slice(&noise(784, 3));
        session.run().unwrap();
        session.output::<f32>("Plus214_Output_0").unwrap().to_vec()
    });
    let first = answers.next().unwrap();
    assert!(answers.all(|answer| answer == first));
    assert_eq!((engines[0].name(), engines[0].device()), ("mnist_winml.onnx", "host"));
}

#[test]
fn whichever_allocation_fails_a_model_leaves_nothing_behind() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let (host, ledger) = (Host::new(), Ledger::default());
    let options = EngineOptions { ledger: ledger.clone(), host: host.clone(), ..EngineOptions::default() };
    let engine = options.open(&path).unwrap();
    let weights = ledger.held();
    assert!(weights[Class::Weights] > 20_000);
    for failing in 0..4 {
        host.set_faults(trtforge_runtime::Faults { failing_allocation: Some(failing), ..Default::default() });
        assert!(engine.session(Request::default().slots(2).into()).unwrap_err().is_out_of_memory());
        assert_eq!((host.used_bytes(), ledger.held()), (0, weights));
    }
    drop(engine);
    assert_eq!(ledger.held().total_bytes(), 0);
}

#[test]
fn a_batch_that_the_model_fixes_otherwise_is_refused() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let error = Engine::open(&path).unwrap().plan(&Request::batch(2)).unwrap_err();
    assert!(matches!(&error, Error::OutsideProfiles { .. }), "{error}");
    assert!(error.to_string().contains("it may be 1x1x28x28"), "{error}");
}

#[test]
fn a_damaged_model_is_an_error() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let bytes = std::fs::read(path).unwrap();
    for length in [5, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(EngineOptions::default().from_bytes("cut", bytes[..length].to_vec(), None).is_err(), "{length}");
    }
}
