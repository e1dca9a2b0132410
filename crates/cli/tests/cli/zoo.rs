//! `trtforge zoo`.

use crate::program::run_in;

#[test]
fn lists_the_architectures() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    insta::assert_snapshot!(run_in(folder.path(), &["zoo"]));
}

#[test]
fn writes_a_model_that_inspect_reads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments = ["zoo", "damoyolo-ns", "-o", "new/ns.onnx", "--batch", "dynamic", "--size", "64"];
    assert_eq!(run_in(folder.path(), &arguments).success().stdout, "new/ns.onnx\n");
    let report = run_in(folder.path(), &["inspect", "new/ns.onnx", "--json"]).json();
    assert_eq!(report["inputs"][0]["name"], "images");
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!(["batch", 3, 64, 64]));
    let outputs: Vec<_> = report["outputs"].as_array().expect("a list").iter().map(|output| &output["name"]).collect();
    assert_eq!(outputs, ["scores", "boxes"]);
}

#[test]
fn wrong_requests() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = |arguments: &[&str]| run_in(folder.path(), arguments).failure(2);
    insta::assert_snapshot!("unknown_name", refused(&["zoo", "yolo-xxl", "-o", "x.onnx"]));
    insta::assert_snapshot!("no_output", refused(&["zoo", "damoyolo-t"]));
    insta::assert_snapshot!("batch", refused(&["zoo", "damoyolo-t", "-o", "x.onnx", "--batch", "0"]));
    insta::assert_snapshot!("size", refused(&["zoo", "damoyolo-t", "-o", "x.onnx", "--size", "100"]));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    std::fs::write(folder.path().join("file"), "").expect("a file");
    insta::assert_snapshot!("folder_in_a_file", refused(&["zoo", "damoyolo-ns", "-o", "file/x.onnx"]));
}
