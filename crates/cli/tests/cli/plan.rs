//! `trtforge plan` on models; engines are in `build.rs`.

use crate::models::folder_with_classifier;
use crate::program::{have_libraries, run_in, run_without_libraries};

#[test]
fn a_model() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["plan", "model.onnx", "--batch", "2"]));
    insta::assert_snapshot!(run_in(folder.path(), &["plan", "model.onnx", "--budget", "1MiB"]));
}

#[test]
fn what_does_not_fit_is_a_failed_check_with_the_table() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["plan", "model.onnx", "--batch", "64", "--budget", "4KiB"]));
    let run = run_in(folder.path(), &["plan", "model.onnx", "--budget", "1KiB", "--json"]);
    assert_eq!(run.code, 1, "{run}");
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(report["fits"], false);
}

#[test]
fn without_onnx_runtime_it_is_missing_on_this_machine() {
    let folder = folder_with_classifier();
    let stderr = run_without_libraries(folder.path(), &["plan", "model.onnx"]).failure(3);
    assert!(stderr.contains("hint: run `make setup`"), "{stderr}");
}
