//! `trtforge inspect` on models.

use crate::models::{classifier, doubling, folder_with_classifier, quantized, write};
use crate::program::{Run, have_libraries, run_in, run_without_libraries};
use std::time::{Duration, Instant};

#[test]
fn a_model() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["inspect", "model.onnx"]));
    insta::assert_snapshot!(run_in(folder.path(), &["inspect", "model.onnx", "--nodes"]).success().stdout);
    insta::assert_snapshot!(run_in(folder.path(), &["inspect", "model.onnx", "--nodes", "--json"]).success().stdout);
}

#[test]
fn a_model_without_onnx_runtime_still_tells_what_the_file_says() {
    let folder = folder_with_classifier();
    let report = run_without_libraries(folder.path(), &["inspect", "model.onnx", "--json"]).json();
    assert_eq!(report["arithmetic"]["shapes"], "incomplete");
    assert_eq!(report["operators"]["Conv"], 1);
    assert_eq!(report["parameters"], 4 * 4 * 9 + 4 + 40);
}

fn refused(name: &str, content: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), content).expect("a file");
    let run: Run = run_in(folder.path(), &["inspect", name]);
    assert_eq!(run.stdout, "");
    run.failure(4)
}

#[test]
fn files_that_are_no_models() {
    let whole = trtforge_graph::Model::from_proto(classifier()).to_bytes().expect("bytes");
    insta::assert_snapshot!("empty", refused("empty.onnx", b""));
    insta::assert_snapshot!("text", refused("text.onnx", b"Hello, this is no model.\n"));
    insta::assert_snapshot!("truncated", refused("half.onnx", &whole[..whole.len() / 2]));
    insta::assert_snapshot!("zeros", refused("zeros.onnx", &[0; 100]));
    insta::assert_snapshot!("manifest", refused("x.engine.json", b"{\n  \"schema\": 1\n}\n"));
    insta::assert_snapshot!("engine_without_manifest", refused("x.engine", b"ftrt and then some"));
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    insta::assert_snapshot!("absent", run_in(folder.path(), &["inspect", "absent.onnx"]).failure(4));
    insta::assert_snapshot!("folder", run_in(folder.path(), &["inspect", "."]).failure(4));
}

#[test]
fn flags_of_the_other_kind_are_refused() {
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["inspect", "model.onnx", "--verify"]).failure(2));
}

#[test]
fn json_failures_end_in_a_line_of_json() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stderr = run_in(folder.path(), &["inspect", "absent.onnx", "--json"]).failure(4);
    let last = stderr.lines().last().expect("a line");
    let error: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(error["error"]["exit_code"], 4);
    assert_eq!(error["error"]["kind"], "bad-input");
    assert_eq!(error["error"]["message"], "no such file: absent.onnx");
}

#[test]
fn weights_are_not_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut proto = doubling(&[1, 8]);
    let bytes: u64 = 6 << 30;
    let mut tensor = trtforge_graph::construct::tensor::<f32>("w", [bytes / 4], Vec::new());
    tensor.raw_data = None;
    tensor.data_location = Some(trtforge_graph::proto::tensor_proto::DataLocation::EXTERNAL.into());
    tensor.external_data = vec![trtforge_graph::construct::entry("location", "weights.bin")];
    let graph = proto.graph.mut_or_insert_default();
    graph.initializer.push(tensor);
    graph.node.push(trtforge_graph::construct::node("Identity", "keep", ["w"], ["z"]));
    let hole = std::fs::File::create(folder.path().join("weights.bin")).expect("a file");
    hole.set_len(bytes).expect("a sparse file");
    let encoded = trtforge_graph::protobuf::Message::write_to_bytes(&proto).expect("bytes");
    std::fs::write(folder.path().join("model.onnx"), encoded).expect("a file");
    let start = Instant::now();
    let report = run_without_libraries(folder.path(), &["inspect", "model.onnx", "--json"]).json();
    assert_eq!(report["weights_bytes"], bytes);
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

#[test]
fn types_of_the_file_are_used_when_complete() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "double.onnx", doubling(&[2, 3]));
    let report = run_without_libraries(folder.path(), &["inspect", "double.onnx", "--json"]).json();
    assert_eq!(report["arithmetic"]["shapes"], "model");
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([2, 3]));
}

#[test]
fn a_quantized_model_is_audited() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "int8.onnx", quantized());
    insta::assert_snapshot!(run_in(folder.path(), &["inspect", "int8.onnx"]).success().stdout);
    let report = run_in(folder.path(), &["inspect", "int8.onnx", "--json"]).json();
    insta::assert_json_snapshot!(report["precision"]);
}
