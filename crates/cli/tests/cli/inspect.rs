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

/// Two tensors, as TensorRT writes them: the input's scale is 2 / 127, the other's 1.
const CACHE: &str = "TRT-101401-EntropyCalibration2\nimages: 3c810204\nconv:0: 3f800000\n";

#[test]
fn a_calibration_cache_made_elsewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("x.cache"), CACHE).expect("a file");
    insta::assert_snapshot!(run_without_libraries(folder.path(), &["inspect", "x.cache"]).success().stdout);
    let report = run_without_libraries(folder.path(), &["inspect", "x.cache", "--json"]).json();
    assert_eq!((&report["kind"], &report["tensors"][1]["tensor"]), (&"cache".into(), &"conv:0".into()));
    assert_eq!(report["tensors"][0]["range"], 2.0);
    assert!(report.get("sidecar").is_none());
}

#[test]
fn a_calibration_cache_with_its_sidecar() {
    use trtforge_builder::calibration::{Binding, CalibrationCache, Sidecar};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.cache");
    let cache = CalibrationCache::parse(CACHE.as_bytes()).expect("a cache");
    let binding = Binding { images: Some(64), method: Some("entropy".into()), ..Binding::default() };
    Sidecar::new(binding, &cache).write_with(&cache, &path).expect("both files");
    let shown = run_without_libraries(folder.path(), &["inspect", "x.cache"]).success().stdout;
    assert!(shown.contains("images    64\nmethod    entropy\n") && !shown.contains("edited"), "{shown}");
    std::fs::write(&path, CACHE.replace("3f800000", "3f800001")).expect("a file");
    let report = run_without_libraries(folder.path(), &["inspect", "x.cache", "--json"]).json();
    assert_eq!((&report["matches_sidecar"], &report["sidecar"]["images"]), (&false.into(), &64.into()));
}

#[test]
fn damaged_calibration_caches() {
    let refused = |text: &str| refused("x.cache", text.as_bytes());
    insta::assert_snapshot!("cache_scale", refused("TRT-8501-EntropyCalibration2\nimages: 0\n"));
    insta::assert_snapshot!("cache_header", refused("TRT-8501\nimages: 3f800000\n"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("x.cache"), CACHE).expect("a file");
    let refused = |arguments: &[&str], code| run_in(folder.path(), arguments).failure(code);
    assert!(refused(&["inspect", "x.cache", "--nodes"], 2).contains("calibration cache"));
    assert!(refused(&["plan", "x.cache"], 4).contains("is a calibration cache, not a model"));
    assert!(refused(&["compare", "x.cache", "x.cache"], 4).contains("is a calibration cache, not a model"));
}
