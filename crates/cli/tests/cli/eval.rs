//! `trtforge eval` with the real ONNX Runtime.

use crate::models::{colour_detector, write};
use crate::photographs::write_photographs;
use crate::program::{have_libraries, run_in};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The colour detector, its photographs, and labels that it meets exactly.
fn folder_with_labels() -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "colours.onnx", colour_detector());
    let sizes = write_photographs(&folder.path().join("photos"));
    let images: Vec<Value> =
        (0..9).map(|index| json!({"id": 100 + index, "file_name": format!("{index}.bmp")})).collect();
    let truth = |(index, (width, height)): (usize, &(u32, u32))| {
        let (width, height) = (f64::from(*width), f64::from(*height));
        let bbox = [width / 4.0, height / 4.0, width / 2.0, height / 2.0];
        json!({"id": index + 1, "image_id": 100 + index, "category_id": 10 * (index % 3 + 1), "bbox": bbox,
               "area": bbox[2] * bbox[3], "iscrowd": 0})
    };
    let annotations: Vec<Value> = sizes.iter().enumerate().map(truth).collect();
    let categories = json!([{"id": 10, "name": "rot"}, {"id": 20, "name": "gruen"}, {"id": 30, "name": "blau"}]);
    (folder, json!({"images": images, "annotations": annotations, "categories": categories}))
}

fn write_labels(folder: &Path, labels: &Value) {
    std::fs::write(folder.join("labels.json"), labels.to_string()).expect("labels");
}

const EVAL: [&str; 6] = ["eval", "colours.onnx", "--annotations", "labels.json", "--images", "photos"];

#[test]
fn a_detector_that_is_right_has_it_all() {
    if !have_libraries() {
        return;
    }
    let (folder, labels) = folder_with_labels();
    write_labels(folder.path(), &labels);
    let report = run_in(folder.path(), &[&EVAL[..], &["--json", "-q"]].concat()).json();
    for figure in ["ap", "ap50"] {
        assert!((report[figure].as_f64().unwrap_or(0.0) - 1.0).abs() < 1e-6, "{report}");
    }
    assert_eq!(report["per_class"].as_array().map(Vec::len), Some(3));
    assert_eq!((&report["per_class"][1]["name"], &report["per_class"][1]["objects"]), (&"gruen".into(), &3.into()));
    let candidate = &report["candidates"][0];
    assert!(candidate["latency"]["p50_ms"].as_f64().is_some_and(|time| time > 0.0), "{candidate}");
    assert!(candidate["memory"]["io_bytes"].as_u64().is_some_and(|bytes| bytes >= 3 * 64 * 64 * 4), "{candidate}");
}

#[test]
fn candidates_stand_beside_each_other() {
    if !have_libraries() {
        return;
    }
    let (folder, labels) = folder_with_labels();
    write_labels(folder.path(), &labels);
    // Blue first is wrong for two of the three colours.
    let config = "model: colours.onnx\npreprocess: {order: bgr}\n";
    std::fs::write(folder.path().join("wrong.yaml"), config).expect("a config");
    let arguments = [&["eval", "colours.onnx", "wrong.yaml"], &EVAL[2..], &["--json", "-q"]].concat();
    let report = run_in(folder.path(), &arguments).json();
    let change = report["candidates"][1]["difference"]["ap"].as_f64().unwrap_or(0.0);
    assert!((change + 2.0 / 3.0).abs() < 0.01, "{report}");
    let arguments = [&["eval", "colours.onnx", "wrong.yaml"], &EVAL[2..], &["-q"]].concat();
    let shown = run_in(folder.path(), &arguments).success().stdout;
    assert!(shown.contains("-0.6667") && shown.contains("rot") && shown.contains("change"), "{shown}");
}

#[test]
fn labels_that_make_no_sense_are_told() {
    if !have_libraries() {
        return;
    }
    let (folder, mut labels) = folder_with_labels();
    let entries = labels["annotations"].as_array_mut().expect("a list");
    entries.push(json!({"id": 90, "image_id": 5, "category_id": 10, "bbox": [0, 0, 9, 9]}));
    entries.push(json!({"id": 91, "image_id": 100, "category_id": 11, "bbox": [0, 0, 9, 9]}));
    entries.push(json!({"id": 92, "image_id": 100, "category_id": 10, "bbox": [0, 0, 0, 0], "iscrowd": 1}));
    let images = labels["images"].as_array_mut().expect("a list");
    images.push(json!({"id": 900, "file_name": "absent.jpg"}));
    images[3]["width"] = 7.into();
    images[3]["height"] = 5.into();
    write_labels(folder.path(), &labels);
    let run = run_in(folder.path(), &[&EVAL[..], &["--json"]].concat());
    for told in ["an image that is not listed", "a category that is not listed", "absent.jpg"] {
        assert!(run.stderr.contains(told), "{told}: {run}");
    }
    let report = run.json();
    assert_eq!(report["candidates"][0]["images"], 9);
    assert_eq!(report["candidates"][0]["unreadable"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(4), "{report}");
    let other_size = &report["candidates"][0]["other_size"];
    assert_eq!(other_size["count"], 1);
    assert!(
        other_size["first"].as_str().is_some_and(|first| first.starts_with("3.bmp, ") && first.ends_with("not 7x5"))
    );
    run_in(folder.path(), &[&EVAL[..], &["-q", "--max-unreadable", "0"]].concat()).failure(4);
}

#[test]
fn a_candidate_that_cannot_run_is_told_before_others_are_scored() {
    if !have_libraries() {
        return;
    }
    let (folder, labels) = folder_with_labels();
    write_labels(folder.path(), &labels);
    let run = run_in(folder.path(), &[&EVAL[..2], &["absent.onnx"], &EVAL[2..]].concat());
    assert!(run.code == 4 && !run.stderr.contains("eval colours.onnx"), "{run}");
    let whole = std::fs::read(folder.path().join("colours.onnx")).expect("the model");
    std::fs::write(folder.path().join("half.onnx"), &whole[..whole.len() / 2]).expect("half of it");
    let run = run_in(folder.path(), &[&EVAL[..1], &["half.onnx"], &EVAL[2..]].concat());
    assert!(run.code == 4 && run.stderr.contains("half.onnx is cut short"), "{run}");
}

#[test]
fn labels_of_crowds_alone_give_no_score_and_say_so() {
    if !have_libraries() {
        return;
    }
    let (folder, mut labels) = folder_with_labels();
    labels["annotations"].as_array_mut().expect("a list").iter_mut().for_each(|label| label["iscrowd"] = 1.into());
    write_labels(folder.path(), &labels);
    let run = run_in(folder.path(), &[&EVAL[..], &["-q"]].concat());
    assert!(run.stdout.contains("There is no AP"), "{run}");
    let report = run_in(folder.path(), &[&EVAL[..], &["-q", "--json"]].concat()).json();
    assert_eq!((&report["ap"], &report["candidates"][0]["above_one"]), (&Value::Null, &0.into()));
}

#[test]
fn what_cannot_be_scored_is_told() {
    if !have_libraries() {
        return;
    }
    let (folder, mut labels) = folder_with_labels();
    let root = folder.path();
    let quiet = [&EVAL[..], &["-q"]].concat();
    insta::assert_snapshot!("labels_absent", run_in(root, &quiet).failure(4));
    std::fs::write(root.join("labels.json"), "{\"images\": [}").expect("labels");
    insta::assert_snapshot!("labels_broken", run_in(root, &quiet).failure(4));
    write_labels(root, &json!({"images": [], "annotations": [], "categories": []}));
    insta::assert_snapshot!("labels_empty", run_in(root, &quiet).failure(4));
    labels["categories"].as_array_mut().expect("a list").push(json!({"id": 40, "name": "gelb"}));
    write_labels(root, &labels);
    insta::assert_snapshot!("classes_unlike_categories", run_in(root, &quiet).failure(2));
}

/// The folder of trained models and photographs; says that a test is skipped where there is none.
fn test_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TRTFORGE_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: TRTFORGE_TEST_DATA is not set");
    }
    folder
}

#[test]
fn trained_detectors_score_what_others_measured() {
    let Some(data) = test_data().filter(|_| have_libraries()) else { return };
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let text = |path: PathBuf| path.display().to_string();
    // Measured with the models' own pre- and post-processing in Python and pycocotools.
    for (model, config, expected) in
        [("yolox_nano_416.onnx", "yolox-nano.yaml", 0.3620), ("fastestdet_352.onnx", "fastestdet.yaml", 0.2339)]
    {
        let arguments = [
            "eval".to_owned(),
            text(data.join("models").join(model)),
            "--config".to_owned(),
            text(configs.join(config)),
            "--annotations".to_owned(),
            text(data.join("images/evaluation.json")),
            "--images".to_owned(),
            text(data.join("images/evaluation")),
            "--json".to_owned(),
            "-q".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let report = run_in(&data, &arguments).json();
        let precision = report["ap"].as_f64().unwrap_or(0.0);
        assert!((precision - expected).abs() < 0.01, "{model}: {precision} for {expected}");
    }
}
