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
    insta::assert_snapshot!(run.failure(4));
}

#[test]
fn engines_are_not_compared_yet() {
    let folder = folder_with_classifier();
    std::fs::write(folder.path().join("x.engine"), b"ftrt....").expect("a file");
    insta::assert_snapshot!(run_in(folder.path(), &["compare", "model.onnx", "x.engine"]).failure(2));
}

#[test]
fn the_values_inside() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    run_in(folder.path(), &["quantize", "model.onnx", "-o", "half.onnx", "-q"]).success();
    let arguments = ["compare", "model.onnx", "half.onnx", "--batch", "1", "-q", "--layers"];
    let shown = run_in(folder.path(), &arguments).success().stdout;
    let operators: Vec<&str> = shown.lines().skip(1).map_while(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(operators, ["Conv", "Relu", "GlobalAveragePool", "Flatten", "MatMul"], "{shown}");
    assert!(shown.contains("worst so far"), "{shown}");
    let conv = shown.lines().nth(1).expect("a line").split_whitespace().count();
    assert_eq!(conv, "NODE OPERATOR VALUE SQNR COSINE ERROR worst so far".split(' ').count(), "{shown}");
    let sorted = run_in(folder.path(), &[arguments.as_slice(), &["--sort", "--json"]].concat()).json();
    let figures = sorted["layers"].as_array().expect("a list").iter();
    let figures: Vec<f64> = figures.map(|layer| layer["sqnr_db"].as_f64().unwrap_or(f64::INFINITY)).collect();
    assert_eq!(figures.len(), 5);
    assert!(figures.is_sorted(), "{figures:?}");
    assert_eq!(sorted["layers_unmatched"], 0);
    assert!(sorted["layers"][0]["node"].is_string() && sorted["layers"][0]["output"].is_string());
}

#[test]
fn sorting_needs_layers() {
    let folder = folder_with_classifier();
    let stderr = run_in(folder.path(), &["compare", "model.onnx", "model.onnx", "--sort"]).failure(2);
    assert!(stderr.contains("--layers"), "{stderr}");
}

#[test]
fn a_batch_keeps_the_other_dimensions_of_a_config() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let config = "model: model.onnx\nshapes: {x: {min: 1x4x8x8, opt: 2x4x8x8, max: 4x4x8x8}}\n";
    std::fs::write(folder.path().join("model.yaml"), config).expect("a file");
    let arguments = ["quantize", "model.yaml", "-o", "half.onnx", "--batch", "3", "-q"];
    run_in(folder.path(), &arguments).success();
    let report = run_in(folder.path(), &["inspect", "half.onnx", "--json"]).json();
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([3, 4, 8, 8]));
}
