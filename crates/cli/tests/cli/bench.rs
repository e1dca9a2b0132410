//! `trtforge bench` with the real ONNX Runtime. No figure of time is held to anything.

use crate::models::{doubling, folder_with_classifier, write};
use crate::program::{Run, have_libraries, run_in};
use serde_json::{Value, json};
use std::path::Path;

const QUICK: [&str; 6] = ["bench", "model.onnx", "--duration", "30ms", "--warmup", "30ms"];

fn bench(folder: &Path, more: &[&str]) -> Run {
    run_in(folder, &[&QUICK, more].concat())
}

/// Every key of a document, each once, however often it occurs.
fn keys(value: &Value, prefix: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| keys(value, &format!("{prefix}.{key}"), into)),
        Value::Array(entries) => entries.iter().for_each(|value| keys(value, &format!("{prefix}[]"), into)),
        _ if !into.iter().any(|known| known == prefix) => into.push(prefix.to_owned()),
        _ => {}
    }
}

#[test]
fn every_combination_is_measured_and_reported_in_the_same_keys() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let flags = ["--batch", "1,3", "--streams", "1,2", "--rate", "200", "--json", "-o", "r.json", "--svg", "both.svg"];
    let run = bench(folder.path(), &flags);
    let report = run.json();
    let written: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("r.json")).expect("a report")).expect("JSON");
    assert_eq!(report, written);
    assert_eq!((&report["schema"], &report["kind"]), (&json!(1), &json!("trtforge bench")));
    let modes: Vec<Value> = report["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| {
            let mode = &run["mode"];
            json!([mode["loop"], mode["batch"], mode["streams"], run["shapes"]["x"]])
        })
        .collect();
    let expected = json!([
        ["closed", 1, 1, "1x4x8x8"],
        ["open", 1, 1, "1x4x8x8"],
        ["closed", 1, 2, "1x4x8x8"],
        ["open", 1, 2, "1x4x8x8"],
        ["closed", 3, 1, "3x4x8x8"],
        ["open", 3, 1, "3x4x8x8"],
        ["closed", 3, 2, "3x4x8x8"],
        ["open", 3, 2, "3x4x8x8"],
    ]);
    assert_eq!(Value::from(modes), expected);
    for run in report["runs"].as_array().expect("runs") {
        assert!(run["throughput"]["inferences_per_s"].as_f64().is_some_and(|it| it > 0.0), "{run}");
        assert_eq!(run["memory"]["activation"], 0, "ONNX Runtime keeps them");
        assert!(run["memory"]["weights"].as_u64().is_some_and(|bytes| bytes > 0), "{run}");
        let allocations = run["memory"]["host_alloc_per_inf"].as_f64().expect("they are counted");
        assert!(if run["mode"]["loop"] == "closed" { allocations == 0.0 } else { allocations >= 1.0 }, "{run}");
    }
    let mut known = Vec::new();
    keys(&report, "", &mut known);
    insta::assert_snapshot!("keys", known.join("\n"));
    let plot = std::fs::read_to_string(folder.path().join("both.svg")).expect("a plot");
    assert!(
        plot.starts_with("<svg") && plot.contains("closed loop, 1 stream") && plot.contains("distribution of latency")
    );
}

#[test]
fn tables_name_every_measurement_and_plots_go_to_a_folder() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let flags = ["--batch", "2", "--transfers", "both", "--cuda-graph", "both", "--svg", "plots"];
    let run = bench(folder.path(), &flags).success();
    assert_eq!(run.stdout.matches("batch 2, 1 stream").count(), 3, "once in each table: {run}");
    assert!(run.stdout.contains("inputs of the first: x 2x4x8x8"), "{run}");
    assert!(run.stderr.contains("note: --transfers makes no difference on the CPU"), "{run}");
    assert!(run.stderr.contains("note: measured without CUDA graphs: the engine runs on the CPU"), "{run}");
    for name in ["latency.svg", "throughput-p99.svg"] {
        assert!(folder.path().join("plots").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_real_model_is_measured() {
    let Some(data) = std::env::var_os("TRTFORGE_TEST_DATA") else {
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
        return;
    };
    if !have_libraries() {
        return;
    }
    let model = Path::new(&data).join("models/mnist_winml.onnx");
    let folder = tempfile::tempdir().expect("a folder");
    let model = model.to_str().expect("a name");
    let report =
        run_in(folder.path(), &["bench", model, "--duration", "50ms", "--warmup", "0s", "--json", "-q"]).json();
    let run = &report["runs"][0];
    assert_eq!((&run["shapes"]["Input3"], &run["memory"]["io"]), (&json!("1x1x28x28"), &json!(4 * (784 + 10))));
    assert_eq!((&run["warm_up"]["stable"], &run["memory"]["host_alloc_per_inf"]), (&json!(null), &json!(0.0)));
}

#[test]
fn a_figure_that_became_worse_fails() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    bench(folder.path(), &["--batch", "1,2", "-o", "a.json", "-q"]).success();
    let path = |name: &str| folder.path().join(name);
    let text = std::fs::read(path("a.json")).expect("a report");
    let mut report: Value = serde_json::from_slice(&text).expect("JSON");
    for (run, throughput, p99) in [(0, 1000.0, 800.0), (1, 1500.0, 2000.0)] {
        report["runs"][run]["throughput"]["inferences_per_s"] = throughput.into();
        report["runs"][run]["latency_us"]["p99"] = p99.into();
    }
    std::fs::write(path("a.json"), report.to_string()).expect("a file");
    report["runs"][0]["throughput"]["inferences_per_s"] = 900.0.into();
    report["runs"][1]["latency_us"]["p99"] = 1500.0.into();
    std::fs::write(path("b.json"), report.to_string()).expect("a file");
    let compare = |arguments: &[&str]| run_in(folder.path(), &[&["bench", "compare"], arguments].concat());
    insta::assert_snapshot!("compare", compare(&["a.json", "b.json"]));
    compare(&["a.json", "b.json", "--noise", "10.5%"]).success();
    let judged: Value = serde_json::from_str(&compare(&["a.json", "b.json", "--json"]).stdout).expect("JSON");
    assert_eq!((&judged["regression"], &judged["pairs"][1]["p99"]["better"]), (&json!(true), &json!(true)));
    report["runs"][0]["mode"]["batch"] = 7.into();
    report["runs"].as_array_mut().expect("runs").truncate(1);
    std::fs::write(path("c.json"), report.to_string()).expect("a file");
    insta::assert_snapshot!("compare_nothing_in_common", compare(&["a.json", "c.json"]));
    report["schema"] = 99.into();
    std::fs::write(path("new.json"), report.to_string()).expect("a file");
    insta::assert_snapshot!("compare_newer_schema", compare(&["a.json", "new.json"]).failure(4));
    insta::assert_snapshot!("compare_absent", compare(&["a.json", "nothing.json"]).failure(4));
    insta::assert_snapshot!("compare_foreign", compare(&["a.json", "model.onnx"]).failure(4));
    insta::assert_snapshot!("compare_noise", compare(&["a.json", "b.json", "--noise", "5"]).failure(2));
}

#[test]
fn what_cannot_be_measured_is_told_before_anything_is() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    write(folder.path(), "double.onnx", doubling(&[1, 3]));
    for (name, arguments, code) in [
        ("streams", &["model.onnx", "--streams", "0"][..], 2),
        ("rate", &["model.onnx", "--rate", "0"], 2),
        ("time", &["model.onnx", "--duration", "5"], 2),
        ("model_absent", &["nothing.onnx"], 4),
        ("no_model", &[], 2),
        ("onto_model", &["model.onnx", "-o", "model.onnx"], 2),
        ("no_such_folder", &["model.onnx", "-o", "nowhere/r.json"], 2),
        ("batch_fixed", &["double.onnx", "--batch", "2", "--duration", "1ms", "--warmup", "0s"], 2),
        ("shape_twice", &["model.onnx", "--shape", "x=1x4x8x8", "--shape", "x=2x4x8x8"], 2),
        ("budget", &["model.onnx", "--budget", "100B", "--duration", "1ms", "--warmup", "0s"], 1),
    ] {
        let run = run_in(folder.path(), &[&["bench", "-q"], arguments].concat());
        insta::assert_snapshot!(format!("refused_{name}"), run.failure(code));
    }
}

#[test]
fn an_engine_without_a_gpu_is_missing_on_this_machine() {
    if !have_libraries() || trtforge_tensorrt::Device::all().is_ok() {
        return;
    }
    let folder = folder_with_classifier();
    run_in(folder.path(), &["build", "model.onnx", "-o", "m.engine", "--precision", "fp32", "--batch", "1", "-q"])
        .success();
    let stderr = run_in(folder.path(), &["bench", "m.engine", "-q"]).failure(3);
    assert!(stderr.contains("no GPU") || stderr.contains("driver"), "{stderr}");
    assert!(stderr.contains("hint:"), "{stderr}");
}
