//! `trtforge quantize` with the real ONNX Runtime.

use crate::models::folder_with_classifier;
use crate::program::{have_libraries, run_in};

#[test]
fn a_model_in_half_precision() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    insta::assert_snapshot!(run_in(folder.path(), &["quantize", "model.onnx", "-o", "half.onnx", "-q", "--table"]));
    let report = run_in(folder.path(), &["inspect", "half.onnx", "--json"]).json();
    assert_eq!(precisions(&report), ["fp16", "fp16"]);
    assert_eq!(report["inputs"][0]["type"], "float32[N,4,8,8]");
}

#[test]
fn kept_nodes_keep_their_weights() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["quantize", "model.onnx", "-o", "half.onnx", "-q", "--keep", "fp32:^conv", "--json"];
    let table = run_in(folder.path(), &arguments).json();
    assert!(table["nodes"]["fp32"].as_u64() >= Some(1), "{table}");
    let report = run_in(folder.path(), &["inspect", "half.onnx", "--json"]).json();
    assert_eq!(precisions(&report), ["fp32", "fp16"]);
}

/// What each convolution and matrix product of an inspected model computes in.
fn precisions(report: &serde_json::Value) -> Vec<&str> {
    let nodes = report["precision"]["convolutions"].as_array().expect("a list").iter();
    nodes.map(|node| node["arithmetic"].as_str().expect("a name")).collect()
}

#[test]
fn stops_and_dumps_where_asked() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = [
        "quantize",
        "model.onnx",
        "-o",
        "out.onnx",
        "-q",
        "--stop-after",
        "simplify",
        "--dump-after",
        "freeze-shapes",
        "--dump-dir",
        "dumps",
    ];
    std::fs::create_dir(folder.path().join("dumps")).expect("a folder");
    run_in(folder.path(), &arguments).success();
    assert_eq!(std::fs::read_dir(folder.path().join("dumps")).expect("a folder").count(), 1);
}

#[test]
fn a_model_in_8_bits() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["quantize", "model.onnx", "-o", "int8.onnx", "-q", "--precision", "int8", "--json"];
    let told = run_in(folder.path(), &arguments).json();
    assert_eq!((&told["calibration"]["method"], &told["calibration"]["images"]), (&"auto".into(), &2.into()));
    assert!(told["int8_flops"].as_f64() > Some(0.5), "{told}");
    let report = run_in(folder.path(), &["inspect", "int8.onnx", "--json"]).json();
    assert_eq!(precisions(&report), ["int8", "fp16"], "the matrix product has a side under 16");
}

#[test]
fn a_model_with_nothing_to_quantize_is_a_bad_input() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    crate::models::write(folder.path(), "sum.onnx", crate::models::doubling(&[1, 4]));
    let stderr =
        run_in(folder.path(), &["quantize", "sum.onnx", "-o", "int8.onnx", "-q", "--precision", "int8"]).failure(4);
    insta::assert_snapshot!("nothing_to_quantize", stderr);
    assert!(!folder.path().join("int8.onnx").exists());
}

#[test]
fn a_floor_that_is_missed_names_figure_nodes_and_ways_on_and_writes_nothing() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let quantize = |more: &[&str]| {
        let arguments = ["quantize", "model.onnx", "-o", "int8.onnx", "-q", "--precision", "int8", "--batch", "1"];
        run_in(folder.path(), &[&arguments, more].concat())
    };
    let stderr = quantize(&["--accuracy-floor", "channel_db=90"]).failure(1);
    assert!(!folder.path().join("int8.onnx").exists());
    assert!(stderr.starts_with("error: output `y` is below the accuracy floor: channel_db is "), "{stderr}");
    for part in [", 90 is asked for; SQNR ", "INT8 reaches ", "; the best form found ", "most is lost in `", "hint: "] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let hint = stderr.split("hint: ").nth(1).unwrap_or_default();
    for way in ["--keep 'fp", "--calibration", "--accuracy-floor", "--precision fp16"] {
        assert!(hint.contains(way), "{way}: {stderr}");
    }
    let plain = quantize(&["--accuracy-floor", "channel_db=90", "--no-search"]).failure(1);
    assert!(plain.contains("hint: leave out --no-search, keep") && plain.contains("`conv` (int8: exact"), "{plain}");
    quantize(&["--accuracy-floor", "channel_db=10"]).success();
}

#[test]
fn a_keep_that_takes_all_there_is_is_told_from_a_model_with_nothing_in_it() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["quantize", "model.onnx", "-o", "int8.onnx", "-q", "--precision", "int8", "--keep"];
    for (name, pattern) in [("keep_takes_all", "fp16:^(conv|fc)$"), ("keep_takes_what_could_be", "fp16:^conv$")] {
        insta::assert_snapshot!(name, run_in(folder.path(), &[&arguments[..], &[pattern]].concat()).failure(4));
    }
    assert!(!folder.path().join("int8.onnx").exists());
}

#[test]
fn a_keep_that_matches_nothing_is_noted() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["quantize", "model.onnx", "-o", "int8.onnx", "--precision", "int8", "--keep", "fp16:nowhere"];
    let stderr = run_in(folder.path(), &arguments).success().stderr;
    assert!(stderr.contains("note: --keep pattern `nowhere` matches no node"), "{stderr}");
}

#[test]
fn a_model_that_others_must_not_fuse_is_noted() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    crate::models::write(folder.path(), "joined.onnx", crate::models::joined());
    let told = |model: &str| {
        let arguments = ["quantize", model, "-o", "int8.onnx", "--precision", "int8"];
        run_in(folder.path(), &arguments)
            .success()
            .stderr
            .contains("note: ONNX Runtime opens this model only with session.disable_quant_qdq=1")
    };
    assert!(told("joined.onnx"), "a concatenation between pairs with half-precision scales");
    assert!(!told("model.onnx"), "no pairs on both sides of anything but convolutions");
}

#[test]
fn a_model_in_stages_runs_like_the_whole() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let run = |arguments: &[&str]| run_in(folder.path(), arguments);
    let quantize = ["quantize", "model.onnx", "--precision", "fp32", "--batch", "1", "-q", "-o"];
    run(&[&quantize[..], &["whole.onnx"]].concat()).success();
    run(&[&quantize[..], &["staged.onnx", "--stages", "2"]].concat()).success();
    let stage_files = std::fs::read_dir(folder.path()).expect("the folder").filter_map(Result::ok);
    let names = stage_files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.starts_with("staged.stage") && name.ends_with(".onnx")).count(), 2);
    let outputs = ["whole.onnx", "staged.onnx"].map(|model| {
        let output = model.trim_end_matches(".onnx");
        run(&["run", model, "--output", output, "-q"]).success();
        let mut files: Vec<_> = std::fs::read_dir(folder.path().join(output))
            .expect("outputs")
            .map(|it| it.expect("a file").path())
            .collect();
        files.sort();
        files.into_iter().map(|file| std::fs::read(file).expect("an output")).collect::<Vec<_>>()
    });
    assert!(!outputs[0].is_empty() && outputs[0] == outputs[1], "the stages give what the whole gives");

    let many = run(&[&quantize[..], &["no.onnx", "--stages", "60"]].concat()).failure(4);
    assert!(many.contains("cannot be cut into 60 stages") && !folder.path().join("no.onnx").exists(), "{many}");
}
