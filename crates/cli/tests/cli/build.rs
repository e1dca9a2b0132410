//! `trtforge build` with the real TensorRT and ONNX Runtime.

use crate::models::folder_with_classifier;
use crate::program::{Run, have_libraries, libraries, run_in, run_without_libraries};
use std::path::Path;

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn an_engine_with_its_manifest_and_a_summary() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    for precision in ["fp32", "fp16"] {
        let engine = format!("{precision}.engine");
        let arguments = ["build", "model.onnx", "-o", &engine, "--precision", precision, "--batch", "2"];
        let run = run_in(folder.path(), &arguments).success();
        for word in [engine.as_str(), "precision", "memory", "weights", "SQNR"] {
            assert!(run.stdout.contains(word), "{word}: {run}");
        }
        let report = run_in(folder.path(), &["inspect", &engine, "--verify", "--json"]).json();
        assert_eq!(report["manifest"]["precision"]["requested"], precision);
        assert_eq!(report["content_matches_manifest"], true);
    }
    let expected = ["fp16.engine", "fp16.engine.json", "fp32.engine", "fp32.engine.json", "model.onnx"];
    assert_eq!(files(folder.path()), expected);
}

#[test]
fn an_unchanged_build_is_answered_from_what_is_there() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let build = |more: &[&str]| {
        let arguments = [&["build", "model.onnx", "-o", "out.engine", "--json"], more].concat();
        run_in(folder.path(), &arguments).json()["up_to_date"].as_bool().expect("a boolean")
    };
    assert!(!build(&[]));
    assert!(build(&[]));
    assert!(!build(&["--force"]));
    assert!(!build(&["--workspace", "64MiB"]));
}

#[test]
fn progress_is_lines_away_from_a_terminal_and_silence_when_asked() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let told = run_in(folder.path(), &["build", "model.onnx", "-o", "out.engine"]).success().stderr;
    assert!(told.lines().any(|line| line.starts_with('[') && line.ends_with("compile")), "{told}");
    assert!(!told.contains('\r'), "{told}");
    let quiet = run_in(folder.path(), &["build", "model.onnx", "-o", "out.engine", "--force", "-q"]).success();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn a_budget_that_does_not_hold_is_a_failed_check_and_writes_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["build", "model.onnx", "-o", "out.engine", "--memory-budget", "100", "-q"];
    let stderr = run_in(folder.path(), &[&arguments[..], &["--precision", "fp32"]].concat()).failure(1);
    assert!(stderr.starts_with("error: the engine takes"), "{stderr}");
    for row in
        ["PRECISION  BATCH  STAGES", "fp32           1       1", "fp16           1       1", "int8           1       1"]
    {
        assert!(stderr.contains(row), "what was looked at, and what else there is: {stderr}");
    }
    assert!(stderr.contains("hint: take a smaller input, or a budget of at least"), "{stderr}");
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn a_budget_that_another_precision_keeps_says_which() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let build = |arguments: &[&str]| {
        let base = ["build", "model.onnx", "-o", "out.engine", "--batch", "64", "--no-verify", "-q"];
        run_in(folder.path(), &[&base[..], arguments].concat())
    };
    build(&["--precision", "fp16"]).success();
    let manifest = std::fs::read(folder.path().join("out.engine.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let half = manifest["memory"]["total_bytes"].as_u64().expect("bytes");
    let arguments = ["--precision", "fp32", "--stages", "1", "--memory-budget", &half.to_string()];
    let stderr = build(&arguments).failure(1);
    assert!(stderr.contains("  fits") && stderr.contains("hint: --precision fp16 fits"), "{stderr}");
}

#[test]
fn an_unreachable_floor_is_a_failed_check_and_writes_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["build", "model.onnx", "-o", "out.engine", "--accuracy-floor", "sqnr_db=190", "-q"];
    let stderr = run_in(folder.path(), &arguments).failure(1);
    assert!(stderr.contains("hint: "), "{stderr}");
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn without_libraries_nothing_is_built_and_the_command_to_run_is_named() {
    let folder = folder_with_classifier();
    let stderr = run_without_libraries(folder.path(), &["build", "model.onnx", "-o", "out.engine"]).failure(3);
    assert!(stderr.contains("hint: run `make setup`"), "{stderr}");
    assert!(!folder.path().join("out.engine").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_wrong_usage() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    for output in [".", "model.onnx/out.engine", "/proc/out.engine"] {
        let stderr = run_in(folder.path(), &["build", "model.onnx", "-q", "-o", output]).failure(2);
        assert!(stderr.starts_with("error: cannot write "), "{stderr}");
    }
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn a_config_says_what_flags_do_not() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let config = "model: model.onnx\nprecision: fp32\nworkspace: 64MiB\nshapes: {x: {opt: 3x4x8x8}}\n";
    std::fs::write(folder.path().join("config.yaml"), config).expect("a file");
    let report = run_in(folder.path(), &["build", "config.yaml", "-o", "a.engine", "--json"]).json();
    assert_eq!(report["manifest"]["workspace_bytes"], 64 << 20);
    assert_eq!(report["manifest"]["precision"]["requested"], "fp32");
    assert_eq!(report["manifest"]["shapes"]["x"]["opt"], "3x4x8x8");
    let arguments = ["build", "config.yaml", "-o", "b.engine", "--json", "--precision", "fp16", "--batch", "2"];
    let report = run_in(folder.path(), &arguments).json();
    assert_eq!(report["manifest"]["precision"]["requested"], "fp16");
    assert_eq!(report["manifest"]["shapes"]["x"]["opt"], "2x4x8x8");
}

#[test]
fn a_config_with_an_unknown_key_is_a_bad_input() {
    let folder = folder_with_classifier();
    std::fs::write(folder.path().join("config.yaml"), "model: model.onnx\nworkspaces: 1GiB\n").expect("a file");
    let stderr = run_in(folder.path(), &["build", "config.yaml", "-o", "a.engine"]).failure(4);
    assert!(stderr.contains("workspaces") && stderr.contains("line 2"), "{stderr}");
    std::fs::write(folder.path().join("config.yaml"), "model: model.onnx\nprecision: int4\n").expect("a file");
    let stderr = run_in(folder.path(), &["build", "config.yaml", "-o", "a.engine"]).failure(4);
    assert!(stderr.contains("int4") && stderr.contains("int8"), "{stderr}");
}

/// A limit on the size of files stands in for a disk that fills up while the engine is written.
#[test]
fn a_disk_that_fills_up_leaves_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let before = files(folder.path());
    let program = env!("CARGO_BIN_EXE_trtforge");
    let build = format!("trap '' XFSZ; ulimit -f 16; exec {program} build model.onnx -o out.engine");
    let mut limited = std::process::Command::new("bash");
    limited
        .args(["-c", &build])
        .env("TRTFORGE_LIB_DIR", libraries().expect("the libraries"))
        .current_dir(folder.path());
    let stderr = Run::from(limited.output().expect("bash starts")).failure(1);
    assert!(stderr.contains("cannot write out.engine"), "{stderr}");
    assert_eq!(files(folder.path()), before);
}

/// Builds the classifier in INT8 with the scales in `cache`.
fn build_with_cache(folder: &Path, cache: &str) -> Run {
    std::fs::write(folder.join("given.cache"), format!("TRT-8501-EntropyCalibration2\n{cache}")).expect("a file");
    let arguments = ["build", "model.onnx", "-o", "out.engine", "--precision", "int8"];
    run_in(folder, &[&arguments[..], &["--no-lean", "--calibration-cache", "given.cache"]].concat())
}

#[test]
fn scales_of_a_cache_made_elsewhere_are_called_so() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let run = build_with_cache(folder.path(), "x: 3c010a14\n").success();
    assert!(run.stdout.contains("calibration  scales of a cache made elsewhere\n"), "{run}");
    assert!(run.stdout.contains("1 node int8"), "{run}");
    assert!(run.stderr.contains("note: judged on synthetic inputs"), "{run}");
    let report = run_in(folder.path(), &["inspect", "out.engine", "--json"]).json();
    assert_eq!(report["manifest"]["calibration"]["method"], "imported", "{report}");
}

#[test]
fn a_cache_with_a_bad_scale_names_line_and_tensor_and_writes_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    for (name, line) in [("zero", "r: 0"), ("infinite", "r: 7f800000"), ("nan", "r: 7fc00000")] {
        let stderr = build_with_cache(folder.path(), &format!("x: 3c010a14\n{line}\n")).failure(4);
        let error = stderr.find("error: ").map_or("", |start| &stderr[start..]);
        insta::assert_snapshot!(format!("cache_scale_{name}"), error);
    }
    build_with_cache(folder.path(), "x: 3c010a14\nr: 38800000\n").success();
}

#[test]
fn a_cache_that_is_not_there_is_not_made_from_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let cache = ["--precision", "int8", "--calibration-cache", "new.cache", "-q"];
    let build = run_in(folder.path(), &[&["build", "model.onnx", "-o", "out.engine"], &cache[..]].concat()).failure(2);
    insta::assert_snapshot!("cache_absent", build);
    let quantize =
        run_in(folder.path(), &[&["quantize", "model.onnx", "-o", "o.onnx"], &cache[..]].concat()).failure(2);
    assert_eq!(quantize, build);
    assert_eq!(files(folder.path()), ["model.onnx"]);
}

#[test]
fn a_budget_chooses_the_largest_batch_that_fits() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let build = |arguments: &[&str]| {
        let always = ["build", "model.onnx", "-o", "out.engine", "--precision", "fp32", "--json", "--progress", "none"];
        run_in(folder.path(), &[&always, arguments].concat())
    };
    let one = build(&["--batch", "1"]).json()["manifest"]["memory"]["total_bytes"].as_u64().expect("bytes");
    let forty = build(&["--batch", "40"]).json()["manifest"]["memory"]["total_bytes"].as_u64().expect("bytes");
    let budget = (one + forty) / 2;
    let run = build(&["--memory-budget", &budget.to_string()]).success();
    assert!(run.stderr.contains("fits into"), "{run}");
    let manifest = &run.json()["manifest"];
    let batch = manifest["shapes"]["x"]["max"].as_str().and_then(|shape| shape.split('x').next()).expect("a shape");
    let batch: u64 = batch.parse().expect("a batch");
    assert!((2..40).contains(&batch), "{batch}");
    assert!(manifest["memory"]["total_bytes"].as_u64() <= Some(budget), "{manifest}");
    let tried = manifest["memory"]["by_batch"].as_array().expect("what was tried");
    let over =
        tried.iter().filter(|it| it["total_bytes"].as_u64() > Some(budget)).filter_map(|it| it["batch"].as_u64());
    assert_eq!(over.min(), Some(batch + 1), "one more was tried and is too much: {manifest}");
}
