//! `trtforge plan` on models; engines are in `build.rs`.

use crate::models::folder_with_classifier;
use crate::program::{Run, command, have_libraries, run_in, run_without_libraries};

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

#[test]
fn by_builds_of_every_batch_and_precision() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let plan = |arguments: &[&str]| {
        let run = command(&[&["plan", "model.onnx", "-q"], arguments].concat())
            .current_dir(folder.path())
            .env("TRTFORGE_CACHE_DIR", folder.path().join("cache"))
            .output();
        Run::from(run.expect("the program runs"))
    };
    let asked = ["--precision", "fp32,fp16", "--batches", "1,64", "--json"];
    let report = plan(&asked).json();
    let total = |row: usize| report["rows"][row]["total_bytes"].as_u64().expect("bytes");
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(4), "{report}");
    assert!(total(0) < total(1), "a larger batch takes more: {report}");
    assert!(report["rows"][2]["saved"].is_number() && report["rows"][0]["saved"].is_null(), "{report}");
    assert_eq!(std::fs::read_dir(folder.path().join("cache/memory")).expect("a cache").count(), 4);
    assert_eq!(plan(&asked).json(), report, "from the cache as by builds");

    // A budget between what both batches take: the largest batch is in between, and one more is too much.
    let budget = (total(0) + total(1)) / 2;
    let fitting = plan(&["--precision", "fp32", "--batches", "1,64", "--budget", &budget.to_string(), "--json"]).json();
    let largest = &fitting["largest"][0];
    let batch = largest["batch"].as_u64().expect("a batch");
    assert!((1..64).contains(&batch) && largest["total_bytes"].as_u64() <= Some(budget), "{fitting}");
    let next = (batch + 1).to_string();
    let over = plan(&["--precision", "fp32", "--batches", &next, "--budget", &budget.to_string()]).failure(1);
    assert!(over.contains("nothing that was asked for fits"), "{over}");
}

#[test]
fn builds_say_what_the_peak_is_made_of() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["plan", "model.onnx", "--precision", "fp32,fp16", "--batch", "2", "--no-cache", "-q"];
    let budget = ["--budget", "9MiB"];
    insta::assert_snapshot!(run_in(folder.path(), &[&arguments[..], &budget].concat()));
    let report = run_in(folder.path(), &[&arguments[..], &["--json", "--svg", "plots"]].concat()).json();
    for row in report["rows"].as_array().expect("rows") {
        let account = &row["activation"];
        let sum = |key: &str| {
            account["charges"].as_array().expect("charges").iter().filter_map(|it| it[key].as_u64()).sum::<u64>()
        };
        assert_eq!(account["explained_bytes"], sum("charged_bytes"), "{row}");
        assert_eq!(row["pinned_bytes"], row["io_bytes"], "{row}");
    }
    for name in ["memory-depth.svg", "memory-classes.svg"] {
        let plot = std::fs::read_to_string(folder.path().join("plots").join(name)).expect("a plot");
        assert!(plot.starts_with("<svg") && plot.contains("fp16 at batch 2"), "{name}");
    }
}

#[test]
fn plots_of_a_model_and_of_an_engine() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let plot = |file: &str, place: &str| {
        run_in(folder.path(), &["plan", file, "--budget", "64MiB", "--svg", place, "-q"]).success();
        std::fs::read_to_string(folder.path().join(place)).expect("a plot")
    };
    let model = plot("model.onnx", "model.svg");
    run_in(folder.path(), &["build", "model.onnx", "-o", "out.engine", "-q"]).success();
    let engine = plot("out.engine", "engine.svg");
    for (svg, step) in [(model, "node"), (engine, "kernel")] {
        for word in ["<svg", step, "budget 64.0 MiB", "activation memory over depth", "memory by class"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
    }
    insta::assert_snapshot!("plan_of_an_engine", run_in(folder.path(), &["plan", "out.engine", "-q"]));
    let onto = run_in(folder.path(), &["plan", "model.onnx", "--svg", "model.onnx", "-q"]).failure(2);
    assert!(onto.contains("is what is to be planned"), "{onto}");
    let unwritable = run_in(folder.path(), &["plan", "model.onnx", "--svg", "/proc/x.svg", "-q"]).failure(2);
    assert!(unwritable.contains("cannot write /proc/x.svg"), "{unwritable}");
}

#[test]
fn stages_trade_time_for_memory() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let arguments = ["plan", "model.onnx", "--precision", "fp32", "--batch", "2", "--stages", "1,2", "-q"];
    let report = run_in(folder.path(), &[&arguments[..], &["--no-cache", "--time", "--json"]].concat()).json();
    let (whole, staged) = (&report["rows"][0], &report["rows"][1]);
    assert_eq!((&whole["stages"], &staged["stages"]), (&1.into(), &2.into()), "{report}");
    assert!(whole["stage_memory"].is_null() && whole["time"]["kept_ms"].as_f64() > Some(0.0), "{whole}");
    let stages = staged["stage_memory"].as_array().expect("stages");
    let total = |stage: &serde_json::Value| -> u64 {
        ["weights_bytes", "activation_bytes", "boundary_bytes"].iter().filter_map(|key| stage[key].as_u64()).sum()
    };
    assert_eq!((stages.len(), stages.iter().map(total).max()), (2, staged["total_bytes"].as_u64()), "{staged}");
    assert_eq!(staged["pinned_bytes"], whole["pinned_bytes"], "inputs and outputs are those of the whole");
    let streamed = &staged["time"]["streamed"];
    let weights: u64 = stages.iter().filter_map(|stage| stage["weights_bytes"].as_u64()).sum();
    assert!(streamed["run_ms"].as_f64() > Some(0.0), "{staged}");
    let loaded = streamed["loaded_bytes"].as_u64().expect("bytes");
    assert!((1..=weights).contains(&loaded), "what comes and goes is loaded: {staged}");
    let text = run_in(folder.path(), &[&arguments[..], &["--time"]].concat()).success().stdout.clone();
    assert!(text.contains("WEIGHTS LOADED") && text.contains("median of a run on"), "{text}");

    let many = run_in(folder.path(), &["plan", "model.onnx", "--stages", "64", "--batch", "1", "-q"]).failure(4);
    assert!(many.contains("cannot be cut into 64 stages"), "{many}");
}
