//! Wrong usage: exit 2, a message that names the argument, nothing on stdout, nothing written.

use crate::models::folder_with_classifier;
use crate::program::{have_libraries, run_in};

/// The refusal of `arguments` in a folder with a model, which must be all that is there afterwards.
fn refused(arguments: &[&str]) -> String {
    let folder = folder_with_classifier();
    let run = run_in(folder.path(), arguments);
    assert_eq!(run.stdout, "", "{arguments:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{arguments:?} left {left:?}");
    run.failure(2)
}

fn build(more: &[&str]) -> String {
    refused(&[&["build", "model.onnx", "-q", "-o", "out.engine"], more].concat())
}

#[test]
fn of_the_program() {
    insta::assert_snapshot!(refused(&["explode"]));
    insta::assert_snapshot!(refused(&["doctor", "--progress", "loud"]));
    insta::assert_snapshot!(refused(&["doctor", "-q", "-v"]));
}

#[test]
fn of_calibrate() {
    insta::assert_snapshot!("calibrate_without_output", refused(&["calibrate", "model.onnx"]));
    insta::assert_snapshot!("calibrate_without_data", refused(&["calibrate", "model.onnx", "-q", "-o", "x.cache"]));
    let method = ["calibrate", "model.onnx", "-o", "x.cache", "--calibration-method", "best"];
    insta::assert_snapshot!("calibrate_method", refused(&method));
    let onto_model = ["calibrate", "model.onnx", "-q", "-o", "model.onnx", "--calibration", "photos"];
    insta::assert_snapshot!("calibrate_onto_model", refused(&onto_model));
}

#[test]
fn sizes() {
    for (name, size) in [
        ("size_zero", "--workspace=0"),
        ("size_negative", "--workspace=-5MiB"),
        ("size_garbage", "--workspace=lots"),
        ("size_unit", "--memory-budget=5parsecs"),
        ("size_too_large", "--workspace=99999999999TiB"),
    ] {
        insta::assert_snapshot!(name, build(&[size]));
    }
}

#[test]
fn shapes() {
    if !have_libraries() {
        return;
    }
    for (name, shape) in [
        ("shape_without_name", "--opt-shape=1x4x8x8"),
        ("shape_zero", "--opt-shape=x=1x0x8x8"),
        ("shape_open", "--opt-shape=x=1x4x?x8"),
        ("shape_no_such_input", "--opt-shape=images=1x4x8x8"),
        ("shape_rank", "--opt-shape=x=1x4x8"),
        ("shape_fixed_dimension", "--opt-shape=x=1x5x8x8"),
        ("batch_zero", "--batch=0"),
    ] {
        insta::assert_snapshot!(name, build(&[shape]));
    }
    insta::assert_snapshot!("shape_contradiction", build(&["--min-shape=x=4x4x8x8", "--opt-shape=x=1x4x8x8"]));
    insta::assert_snapshot!("shape_twice", build(&["--opt-shape=x=4x4x8x8", "--opt-shape=x=1x4x8x8"]));
    insta::assert_snapshot!("batch_and_shape", build(&["--batch=4", "--opt-shape=x=1x4x8x8"]));
}

#[test]
fn precisions() {
    insta::assert_snapshot!("precision_unknown", build(&["--precision", "fp8"]));
    insta::assert_snapshot!(
        "precision_auto",
        refused(&["quantize", "model.onnx", "-o", "out.onnx", "--precision", "auto"])
    );
    insta::assert_snapshot!("keep_in_fp32", build(&["--precision", "fp32", "--keep", "fp32:conv"]));
    insta::assert_snapshot!("keep_fp16", build(&["--keep", "fp16:conv"]));
    insta::assert_snapshot!("keep_bad_pattern", build(&["--keep", "fp32:("]));
    insta::assert_snapshot!("keep_no_precision", build(&["--keep", "conv"]));
}

#[test]
fn other_build_flags() {
    insta::assert_snapshot!("floor_unknown", build(&["--accuracy-floor", "psnr=3"]));
    insta::assert_snapshot!(
        "floor_twice",
        build(&["--accuracy-floor", "cosine=0.9", "--accuracy-floor", "cosine=0.8"])
    );
    insta::assert_snapshot!("capability", build(&["--compute-capability", "8.6,ampere"]));
    insta::assert_snapshot!("count", build(&["--calibration-count", "0"]));
    insta::assert_snapshot!("step_unknown", build(&["--stop-after", "lunch"]));
    insta::assert_snapshot!("step_without_model", build(&["--dump-after", "compile"]));
    insta::assert_snapshot!("no_output", refused(&["build", "model.onnx"]));
}
