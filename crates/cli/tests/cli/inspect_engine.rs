//! `trtforge inspect` and `plan` on a real engine, whole and damaged.

use crate::models::folder_with_classifier;
use crate::program::{have_libraries, run_in};
use std::path::Path;

fn folder_with_engine() -> tempfile::TempDir {
    let folder = folder_with_classifier();
    run_in(folder.path(), &["build", "model.onnx", "-o", "out.engine", "-q"]).success();
    folder
}

fn inspect(folder: &Path, more: &[&str]) -> crate::program::Run {
    run_in(folder, &[&["inspect", "out.engine"], more].concat())
}

#[test]
fn a_whole_engine() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_engine();
    let text = inspect(folder.path(), &["--verify"]).success().stdout;
    for word in ["out.engine", "content checked", "model.onnx", "fp16", "INPUT", "1x4x8x8", "activation", "COSINE"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let report = inspect(folder.path(), &["--json"]).json();
    let memory = &report["manifest"]["memory"];
    let plan = run_in(folder.path(), &["plan", "out.engine", "--json", "--budget", "1GiB"]).json();
    assert_eq!(plan["basis"], "engine");
    assert_eq!(plan["fits"], true);
    for class in ["weights_bytes", "activation_bytes", "io_bytes", "total_bytes"] {
        assert_eq!(plan[class], memory[class], "{class}");
    }
    let stderr = run_in(folder.path(), &["plan", "out.engine", "--budget", "1"]).failure(1);
    assert!(stderr.contains("does not fit into 1 B"), "{stderr}");
    insta::assert_snapshot!(
        "plan_engine_with_shapes",
        run_in(folder.path(), &["plan", "out.engine", "--batch", "2"]).failure(2)
    );
    insta::assert_snapshot!("nodes_of_engine", inspect(folder.path(), &["--nodes"]).failure(2));
}

#[test]
fn damaged_engines() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_engine();
    let engine = folder.path().join("out.engine");
    let whole = std::fs::read(&engine).expect("the engine");
    let refused = |content: &[u8], more: &[&str], word: &str| {
        std::fs::write(&engine, content).expect("a file");
        let stderr = inspect(folder.path(), more).failure(4);
        assert!(stderr.contains(word) && stderr.contains("hint: "), "{stderr}");
    };
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    refused(&whole[..whole.len() - 1], &[], "bytes and its manifest says");
    refused(&flipped, &["--verify"], "SHA-256");
    refused(&vec![0; whole.len()], &[], "does not begin like an engine");
    refused(b"", &[], "does not begin like an engine");
}

#[test]
fn damaged_manifests() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_engine();
    let manifest = folder.path().join("out.engine.json");
    let whole = std::fs::read_to_string(&manifest).expect("the manifest");
    let refused = |content: &str, word: &str| {
        std::fs::write(&manifest, content).expect("a file");
        for command in ["inspect", "plan"] {
            let stderr = run_in(folder.path(), &[command, "out.engine"]).failure(4);
            assert!(stderr.contains(word) && stderr.contains("hint: "), "{stderr}");
        }
    };
    refused("", "manifest");
    refused(&whole[..whole.len() / 2], "manifest");
    refused(&whole.replacen("\"schema\": 1", "\"schema\": 99", 1), "schema is 99");
    std::fs::remove_file(&manifest).expect("removed");
    let stderr = inspect(folder.path(), &[]).failure(4);
    assert!(stderr.contains("has no manifest beside it"), "{stderr}");
}
