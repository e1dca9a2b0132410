//! `trtforge compare` with the real ONNX Runtime.

use crate::models::{doubling, folder_with_classifier, write};
use crate::program::{have_libraries, run_in};

#[test]
fn a_model_with_itself_and_with_its_rewrite() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["compare", "model.onnx", "model.onnx", "--batch", "1"]));
    run_in(folder.path(), &["quantize", "model.onnx", "-o", "half.onnx", "-q"]).success();
    let report = run_in(folder.path(), &["compare", "model.onnx", "half.onnx", "--batch", "2", "--json"]).json();
    assert_eq!(report["outputs"][0]["output"], "y");
    assert!(report["outputs"][0]["sqnr_db"].as_f64().is_some_and(|decibel| decibel > 30.0), "{report}");
}

#[test]
fn below_the_floor_is_a_failed_check_after_the_table() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    run_in(folder.path(), &["quantize", "model.onnx", "-o", "half.onnx", "-q"]).success();
    let arguments = ["compare", "model.onnx", "half.onnx", "-q", "--accuracy-floor", "sqnr_db=190"];
    let run = run_in(folder.path(), &arguments);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stdout.contains("SQNR"), "{run}");
    assert!(run.stderr.contains("below the accuracy floor"), "{run}");
}

#[test]
fn models_that_have_nothing_in_common() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    write(folder.path(), "other.onnx", doubling(&[1, 4]));
    let run = run_in(folder.path(), &["compare", "model.onnx", "other.onnx", "-q"]);
    assert!([1, 4].contains(&run.code), "{run}");
    assert!(run.stderr.starts_with("error: "), "{run}");
}

#[test]
fn engines_are_not_compared_yet() {
    let folder = folder_with_classifier();
    std::fs::write(folder.path().join("x.engine"), b"ftrt....").expect("a file");
    insta::assert_snapshot!(run_in(folder.path(), &["compare", "model.onnx", "x.engine"]).failure(2));
}
