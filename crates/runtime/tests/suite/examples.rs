//! The examples, as programs, on a small model.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::models::model;

/// An example that cargo built beside this test, as it does for all tests of a package together.
fn example(name: &str) -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    if !program.is_file() {
        eprintln!("skipped: `cargo build --examples` makes {}", program.display());
        return None;
    }
    Some(program)
}

pub fn output(name: &str, arguments: &[&str]) -> Option<Output> {
    Some(Command::new(example(name)?).args(arguments).output().unwrap())
}

/// What an example prints for a model; it must succeed.
fn printed(name: &str, file: &str) -> Option<String> {
    let path = model(file)?;
    let output = output(name, &[path.to_str().unwrap()])?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name} {file}: {}", text(&output.stderr));
    Some(text(&output.stdout))
}

#[test]
fn minimal_prints_shapes_and_values() {
    let Some(text) = printed("minimal", "mnist_winml.onnx") else { return };
    assert!(text.contains("Plus214_Output_0 1x10 starts with ["), "{text}");
    assert!(text.contains("weights"), "{text}");
}

#[test]
fn the_server_answers_every_client() {
    let Some(text) = printed("batched_server", "mnist_winml.onnx") else { return };
    assert!(text.contains("100 answers to 100 requests in "), "{text}");
}

#[test]
fn a_model_with_open_dimensions_is_refused_with_a_hint() {
    let Some(path) = model("ppocr_v3_det.onnx") else { return };
    let Some(output) = output("batched_server", &[path.to_str().unwrap()]) else { return };
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("open dimensions") && text.contains("hint: "), "{text}");
}

#[test]
fn models_share_a_block() {
    let Some(text) = printed("shared_memory", "mnist_winml.onnx") else { return };
    assert!(text.contains("activations: 20480 bytes apart, 16384 bytes shared"), "{text}");
    assert!(text.contains("shared activations holds 16384 bytes for activation"), "{text}");
    assert!(text.contains("first holds "), "{text}");
}

#[test]
fn a_budget_refuses_until_the_batch_fits() {
    for (file, fits) in [("superres_10.onnx", "2 fits"), ("mnist_winml.onnx", "2 fits")] {
        let Some(text) = printed("budgeted", file) else { return };
        for refused in ["16 refused: need ", "8 refused: need ", "4 refused: need "] {
            assert!(text.contains(refused), "{text}");
        }
        assert!(text.contains(fits) && text.contains(" holds "), "{text}");
    }
}

#[test]
fn without_a_model_each_says_how_it_is_used_and_a_missing_file_is_told() {
    for name in ["minimal", "batched_server", "shared_memory", "budgeted"] {
        let Some(silent) = output(name, &[]) else { return };
        assert_eq!(silent.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&silent.stderr).contains(&format!("usage: {name} MODEL")));
        let Some(missing) = output(name, &["/absent.onnx"]) else { return };
        assert_eq!(missing.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot open /absent.onnx"));
    }
}
