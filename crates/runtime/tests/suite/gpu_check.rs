//! The program that a machine with a GPU runs: its judgement on figures that are known, its checks on a model on the CPU,
//! and what it says where there is no GPU. What it finds on one is for such a machine to tell.

#[path = "../../examples/gpu_check/accuracy.rs"]
mod accuracy;
#[path = "../../examples/gpu_check/inputs.rs"]
mod inputs;
#[path = "../../examples/gpu_check/report.rs"]
mod report;
#[path = "../../examples/gpu_check/running.rs"]
mod running;
#[path = "../../examples/gpu_check/staged.rs"]
mod staged;

use serde_json::{Value, json};
use trtforge_runtime::{ElementType, Engine, Error};

use crate::bundles::bundle;
use crate::examples::output;
use crate::functions::shape;
use crate::models::model;
use inputs::RunShape;
use report::{Check, Report, Subject};

fn report(checks: Vec<Check>) -> Report {
    Report { gpu: Some("a GPU".into()), reason: None, checks }
}

#[test]
fn figures_are_judged_and_the_exit_code_is_that_of_the_worst() {
    let it = Subject { engine: "e", name: "n" };
    let good = [
        it.at_least(2.0, 2.0),
        it.at_most(-3.0, 2.0),
        it.equal(0, 0),
        it.told("anything"),
        it.at_least(f64::INFINITY, 2.0),
    ];
    let bad = [
        it.at_least(1.9, 2.0),
        it.at_most(2.1, 2.0),
        it.equal(1, 0),
        it.at_least(f64::NAN, 2.0),
        it.at_most(f64::NAN, 2.0),
    ];
    assert!(good.iter().all(|check| check.passed) && bad.iter().all(|check| !check.passed));
    assert_eq!(report(good.to_vec()).exit_code(), 0);
    for bad in bad {
        assert_eq!(report([&good[..], &[bad]].concat()).exit_code(), 1);
    }
    assert_eq!(report(Vec::new()).exit_code(), 1, "nothing was checked");
    assert_eq!(Report { gpu: None, ..report(good.to_vec()) }.exit_code(), 3);
    let failed = it.failed(&Error::Run { reason: "why".into() });
    let written = serde_json::to_value(report(vec![failed])).unwrap();
    let expected = json!({"name": "n", "engine": "e", "passed": false, "measured": {"error": "the engine failed: why"}, "wanted": "no error"});
    assert_eq!(written["checks"], json!([expected]));
}

#[test]
fn signal_to_noise_is_what_its_definition_says() {
    assert_eq!(accuracy::sqnr_db(&[3.0, 4.0], &[3.0, 4.0]), f64::INFINITY);
    assert!((accuracy::sqnr_db(&[3.0, 4.0], &[3.0, 4.5]) - 20.0).abs() < 1e-9, "25 to 0.25");
    assert!(accuracy::sqnr_db(&[1.0], &[f64::NAN]).is_nan() && accuracy::sqnr_db(&[1.0], &[]).is_nan());
    let manifest = json!({"precision": {"requested": "int8"}, "accuracy": [{"output": "a", "sqnr_db": 30.0}]});
    assert_eq!(accuracy::wanted_db(&manifest, "a"), 24.0);
    assert_eq!(accuracy::wanted_db(&manifest, "b"), 10.0);
    assert_eq!(accuracy::wanted_db(&Value::Null, "a"), 25.0);
}

#[test]
fn numbers_are_read_as_their_type_and_a_line_is_fitted() {
    assert_eq!(inputs::numbers(ElementType::Int8, &[255, 1]), [-1.0, 1.0]);
    assert_eq!(inputs::numbers(ElementType::Float16, &half::f16::from_f32(1.5).to_ne_bytes()), [1.5]);
    assert_eq!(inputs::numbers(ElementType::Int64, &(-7i64).to_ne_bytes()), [-7.0]);
    assert!((running::slope(&[1.0, 3.0, 5.0, 7.0]) - 2.0).abs() < 1e-12);
    assert_eq!((running::slope(&[4.0, 4.0]), running::slope(&[4.0])), (0.0, 0.0));
}

fn only_shape() -> Vec<RunShape> {
    vec![RunShape { label: "only".into(), inputs: vec![("Input3".into(), shape(&[1, 1, 28, 28]))] }]
}

#[test]
fn a_model_agrees_with_itself_and_not_with_another_of_its_shapes() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let engine = Engine::open(&path).unwrap();
    let same = accuracy::check(&engine, &path, &Value::Null, &only_shape()).unwrap();
    assert!(same.len() == 1 && same[0].passed, "{same:?}");
    // The same inputs and outputs, and something else computed between them.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.onnx");
    std::fs::write(&other, with_other_weights(&std::fs::read(&path).unwrap())).unwrap();
    let different = accuracy::check(&engine, &other, &Value::Null, &only_shape()).unwrap();
    assert!(different.iter().all(|check| !check.passed), "{different:?}");
}

/// The model with some bits turned in the middle of the file, where its weights lie.
fn with_other_weights(model: &[u8]) -> Vec<u8> {
    let mut model = model.to_vec();
    let middle = model.len() / 2;
    model[middle..middle + 4000].iter_mut().for_each(|byte| *byte ^= 0x80);
    model
}

#[test]
fn runs_of_a_model_pass_and_what_is_wrong_with_them_is_found() {
    let Some(path) = model("mnist_winml.onnx") else { return };
    let engine = Engine::open(&path).unwrap();
    let streams = running::streams(&engine, 5, false).unwrap();
    assert!(streams.len() == 15 && streams.iter().all(|check| check.passed), "{streams:?}");
    let graphs = running::streams(&engine, 5, true).unwrap();
    let inactive = graphs.iter().filter(|check| !check.passed).count();
    assert_eq!(inactive, 3, "on the CPU no graph is active, which is told of each");
    let quiet = running::allocations(&engine, 5, || 7).unwrap();
    assert!(quiet.iter().all(|check| check.passed), "{quiet:?}");
    let counter = std::sync::atomic::AtomicU64::new(0);
    let loud = running::allocations(&engine, 5, || counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    assert!(loud.unwrap().iter().all(|check| !check.passed));
    let soak = |step: f64| {
        let used = std::cell::Cell::new(1e9);
        let look = || Ok(running::Used { device: used.replace(used.get() + step), host: 5.0 });
        running::soak(&engine, 2, 40, 1000.0, look).unwrap().iter().map(|check| check.passed).collect::<Vec<_>>()
    };
    assert_eq!(soak(0.0), [true, true, true]);
    assert_eq!(soak(100.0), [false, true, true], "20 looks at 100 bytes more each are over 1000");
}

#[test]
fn stages_that_come_and_go_pass_and_what_is_wrong_with_them_is_found() {
    let (Some((_folder, path, _)), Some(model)) = (bundle(), model("mnist_winml.onnx")) else { return };
    let checked = |model: &std::path::Path, growth: f64| {
        let used = std::cell::Cell::new(1e9);
        let look = || Ok(running::Used { device: used.replace(used.get() + growth), host: 5.0 });
        let checks = staged::check(&path, model, &Value::Null, 20, 1000.0, look).unwrap();
        assert!(checks.iter().any(|check| check.name == "stages come and go in the least memory"), "{checks:?}");
        let failed = checks.iter().filter(|check| !check.passed).map(|check| check.name.clone());
        failed.collect::<Vec<_>>()
    };
    assert_eq!(checked(&model, 0.0), Vec::<String>::new());
    assert_eq!(checked(&model, 100.0), ["growth of device memory in 20 inferences, bytes"]);
    let other = path.with_file_name("other.onnx");
    std::fs::write(&other, with_other_weights(&std::fs::read(&model).unwrap())).unwrap();
    let failed = checked(&other, 0.0);
    assert!(!failed.is_empty() && failed.iter().all(|name| name.starts_with("accuracy of")), "{failed:?}");
}

#[test]
fn without_a_gpu_it_says_so_in_json_with_an_exit_code_of_its_own() {
    let Some(output) = output("gpu_check", &["absent.engine=absent.onnx"]) else { return };
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    if output.status.code() == Some(3) {
        assert_eq!((&report["gpu"], &report["checks"]), (&Value::Null, &json!([])));
        assert!(report["reason"].as_str().unwrap().contains("no GPU can be used"), "{report}");
    } else {
        assert_eq!(output.status.code(), Some(1), "there is a GPU, but no such file");
        assert_eq!(report["checks"][0]["passed"], false);
    }
}

#[test]
fn arguments_that_make_no_sense_are_told() {
    for arguments in
        [&["model.engine"][..], &["--inferences"], &["--inferences", "0", "a=b"], &["--inferences", "many"]]
    {
        let Some(output) = output("gpu_check", arguments) else { return };
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: gpu_check"));
    }
}
