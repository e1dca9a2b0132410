//! `trtforge soak` with the real ONNX Runtime.

use crate::models::folder_with_classifier;
use crate::program::{have_libraries, run_in};

#[test]
fn a_model_that_leaks_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["soak", "model.onnx", "--iterations", "4000", "--batch", "3", "--recreate", "100", "-q"];
    let report = run_in(folder.path(), &[&arguments[..], &["--json"]].concat()).json();
    assert_eq!((&report["iterations"], &report["sessions"]), (&4000.into(), &40.into()), "{report}");
    let names: Vec<&str> =
        report["watched"].as_array().expect("a list").iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(names, ["ledger", "process, resident", "process, virtual", "open files", "threads"]);
    let shown = run_in(folder.path(), &arguments).success().stdout;
    assert!(shown.contains("4000 inferences in 40 sessions"), "{shown}");
}

#[test]
fn what_cannot_be_soaked() {
    let folder = folder_with_classifier();
    let told = run_in(folder.path(), &["soak", "model.onnx", "--iterations", "7"]).failure(2);
    assert!(told.contains("--iterations"), "{told}");
    if have_libraries() {
        let told = run_in(folder.path(), &["soak", "model.onnx", "--budget", "1KiB", "-q"]).failure(1);
        assert!(told.contains("are needed"), "{told}");
    }
}
