//! `trtforge detect` with the real ONNX Runtime.

use crate::models::{ambiguous_detector, colour_detector, folder_with_classifier, open_picture, write};
use crate::photographs::{COLOURS, write_photograph, write_photographs};
use crate::program::{Run, command, have_libraries, libraries, run_in};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use trtforge_graph::construct::{entry, open_tensor_value, tensor};
use trtforge_graph::{Dimension, ElementType};

fn folder_with_colours() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "colours.onnx", colour_detector());
    std::fs::write(folder.path().join("colours.txt"), "red\ngreen\nblue\n").expect("names");
    folder
}

fn boxes(folder: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).expect("boxes");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_photograph_gets_its_own_boxes_whatever_the_batch() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    let sizes = write_photographs(&folder.path().join("photos"));
    for batch in ["1", "2", "4", "9", "20"] {
        let arguments = ["detect", "colours.onnx", "photos", "--json", "boxes.json", "--batch", batch, "-q"];
        let arguments = [&arguments[..], &["--classes", "colours.txt"]].concat();
        run_in(folder.path(), &arguments).success();
        let rows = boxes(folder.path(), "boxes.json");
        assert_eq!(rows.len(), 9, "batch {batch}");
        for (index, (row, (width, height))) in rows.iter().zip(&sizes).enumerate() {
            assert_eq!(row["image_id"], index, "batch {batch}: {row}");
            assert_eq!(row["category_id"], index % 3, "batch {batch}: {row}");
            assert_eq!(row["category"], ["red", "green", "blue"][index % 3]);
            assert_eq!(row["file_name"], format!("photos/{index}.bmp"));
            assert!((number(&row["score"]) - 1.0).abs() < 1e-5, "{row}");
            let (width, height) = (f64::from(*width), f64::from(*height));
            let expected = [width / 4.0, height / 4.0, width / 2.0, height / 2.0];
            for (side, expected) in row["bbox"].as_array().expect("four sides").iter().zip(expected) {
                assert!((number(side) - expected).abs() < 1e-3, "{row}");
            }
        }
    }
}

#[test]
fn boxes_are_drawn_and_photographs_of_one_name_kept_apart() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    for place in ["a", "b"] {
        std::fs::create_dir(folder.path().join(place)).expect("a folder");
        write_photograph(&folder.path().join(place).join("x.bmp"), 300, 200, COLOURS[2]);
    }
    let arguments = ["detect", "colours.onnx", "a/x.bmp", "b", "--out", "new/drawn", "--classes", "colours.txt", "-q"];
    let shown = run_in(folder.path(), &arguments).success().stdout;
    assert!(shown.contains("blue") && shown.contains("damo-yolo"), "{shown}");
    for name in ["x.jpg", "x-2.jpg"] {
        let drawn = trtforge_vision::read_image(&folder.path().join("new/drawn").join(name)).expect("a picture");
        assert_eq!(drawn.dimensions(), (300, 200));
        let inside = drawn.get_pixel(150, 120).0;
        let side = drawn.get_pixel(75, 120).0;
        assert!(inside[2] > 200 && inside[0] < 60, "{inside:?}");
        assert!(side.iter().zip(inside).any(|(a, b)| a.abs_diff(b) > 60), "{side:?} is the box's side");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path().join("new/drawn")).expect("a folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let into_itself = run_in(folder.path(), &["detect", "colours.onnx", "b", "--out", "b", "-q"]).failure(2);
    assert!(into_itself.contains("another folder"), "{into_itself}");
}

#[test]
fn what_cannot_be_read_is_passed_over_unless_it_is_all() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    let photos = folder.path().join("photos");
    write_photographs(&photos);
    std::fs::write(photos.join("4.bmp"), b"BM").expect("a broken file");
    std::fs::write(photos.join("5.bmp"), b"no image").expect("a broken file");
    for batch in ["1", "4"] {
        let arguments = ["detect", "colours.onnx", "photos", "absent.jpg", "--json", "-", "--batch", batch];
        let run = run_in(folder.path(), &arguments).success();
        let rows: Vec<Value> = serde_json::from_str(&run.stdout).expect("boxes");
        let files: Vec<&str> = rows.iter().filter_map(|row| row["file_name"].as_str()).collect();
        assert_eq!(files, [0, 1, 2, 3, 6, 7, 8].map(|index| format!("photos/{index}.bmp")));
        for name in ["4.bmp", "5.bmp", "absent.jpg"] {
            assert!(run.stderr.contains(&format!("{name}: ")), "{}", run.stderr);
        }
    }
    let none =
        run_in(folder.path(), &["detect", "colours.onnx", "photos/4.bmp", "absent.jpg", "-q", "--json", "out.json"]);
    insta::assert_snapshot!("all_unreadable", none.failure(4));
    assert!(!folder.path().join("out.json").exists(), "nothing half-written");
}

#[test]
fn a_model_that_names_its_classes_needs_no_list() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photograph(&folder.path().join("blue.bmp"), 64, 64, COLOURS[2]);
    let category = |names: &str, flags: &[&str]| {
        let mut model = colour_detector();
        model.metadata_props.push(entry("names", names));
        write(folder.path(), "named.onnx", model);
        let arguments = [&["detect", "named.onnx", "blue.bmp", "--json", "-", "-q"], flags].concat();
        run_in(folder.path(), &arguments).json()[0]["category"].clone()
    };
    assert_eq!(category("{0: 'rouge', 1: 'vert', 2: 'bleu'}", &[]), "bleu");
    assert_eq!(category("{0: 'rouge', 1: 'vert', 2: 'bleu'}", &["--classes", "colours.txt"]), "blue");
    assert_eq!(category("{0: 'rouge'}", &[]), Value::Null, "names of another network");
}

#[test]
fn scores_that_are_no_probabilities_are_told() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photograph(&folder.path().join("red.bmp"), 64, 64, COLOURS[0]);
    let told =
        |name: &str| run_in(folder.path(), &["detect", name, "red.bmp"]).success().stderr.contains("more than 1: 1;");
    let mut logits = colour_detector();
    let mask: Vec<f32> = (0..84).map(|anchor| if anchor == 0 { 0.1 } else { 0.0 }).collect();
    logits.graph.as_mut().expect("a graph").initializer[0] = tensor("mask", [1, 84, 1], mask);
    write(folder.path(), "logits.onnx", logits);
    assert!(told("logits.onnx") && !told("colours.onnx"));
}

#[test]
fn boxes_go_through_a_device_that_stays_one() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photograph(&folder.path().join("red.bmp"), 64, 64, COLOURS[0]);
    for (device, code) in [("/dev/null", 0), ("/dev/full", 3)] {
        let link = folder.path().join("device");
        std::os::unix::fs::symlink(device, &link).expect("a link");
        let run = run_in(folder.path(), &["detect", "colours.onnx", "red.bmp", "--json", "device"]);
        assert_eq!(run.code, code, "{run}");
        assert!(link.is_symlink(), "{device} has been replaced");
        std::fs::remove_file(link).expect("the link");
    }
}

#[test]
fn outputs_whose_shapes_only_a_run_tells_are_read_as_well() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photograph(&folder.path().join("red.bmp"), 64, 64, COLOURS[0]);
    let mut open = colour_detector();
    for (output, columns) in open.graph.as_mut().expect("a graph").output.iter_mut().zip([3, 4]) {
        let dimensions = vec![Dimension::Symbol("M".into()), Dimension::Symbol("A".into()), Dimension::Fixed(columns)];
        *output = open_tensor_value(output.name(), ElementType::Float32, dimensions);
    }
    write(folder.path(), "open.onnx", open);
    let run = run_in(folder.path(), &["detect", "open.onnx", "red.bmp", "--json", "o.json"]).success();
    assert!(run.stdout.contains("damo-yolo"), "{run}");
    let rows = boxes(folder.path(), "o.json");
    assert_eq!((rows.len(), &rows[0]["category"]), (1, &Value::Null), "three classes are not COCO's");
}

#[test]
fn nothing_that_is_read_is_written_over() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    let root = folder.path();
    std::fs::create_dir_all(root.join("links")).expect("a folder");
    std::fs::create_dir_all(root.join("photos")).expect("a folder");
    write_photograph(&root.join("photos/red.png"), 64, 64, COLOURS[0]);
    std::os::unix::fs::symlink("../photos/red.png", root.join("links/red.png")).expect("a link");
    std::fs::write(root.join("c.yaml"), "model: colours.onnx\n").expect("a config");
    let before = |name: &str| std::fs::read(root.join(name)).expect("a file");
    let read = ["colours.onnx", "colours.txt", "c.yaml", "photos/red.png"].map(|name| (name, before(name)));
    let detect = |more: &[&str]| {
        let usual = ["detect", "c.yaml", "links", "-q", "--classes", "colours.txt"];
        run_in(root, &[&usual, more].concat())
    };
    for file in ["colours.onnx", "colours.txt", "c.yaml", "photos/red.png"] {
        detect(&["--json", file]).failure(2);
    }
    detect(&["--out", "photos"]).failure(2);
    detect(&["--out", "drawn", "--json", "drawn/red.png"]).failure(2);
    detect(&["--json", "o.json", "--monitor", "o.json"]).failure(2);
    for (name, bytes) in read {
        assert!(before(name) == bytes, "{name} has changed");
    }
    detect(&["--out", "drawn", "--json", "drawn/o.json"]).success();
}

#[test]
fn ids_of_coco_are_for_its_classes() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    write(folder.path(), "one.onnx", ambiguous_detector());
    write_photograph(&folder.path().join("p.bmp"), 64, 64, COLOURS[0]);
    let detect = |more: &[&str]| {
        let usual = ["detect", "one.onnx", "p.bmp", "-q", "--json", "-", "--coco-ids", "--decoder"];
        run_in(folder.path(), &[&usual, more].concat())
    };
    assert_eq!(detect(&["end-to-end"]).json()[0]["category_id"], 1);
    assert_eq!(detect(&["end-to-end"]).json()[0]["category"], Value::Null, "nobody says how many classes there are");
    let mut many = ambiguous_detector();
    let rows = [8.0f32, 8.0, 40.0, 40.0, 0.9, 80.0].repeat(252);
    many.graph.as_mut().expect("a graph").initializer[0] = tensor("rows", [1, 252, 6], rows);
    write(folder.path(), "one.onnx", many);
    let told = detect(&["end-to-end"]).failure(2);
    assert!(told.contains("class 80 was found") && told.contains("leave --coco-ids out"), "{told}");
}

#[test]
fn pictures_are_drawn_though_nobody_reads_the_boxes() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photographs(&folder.path().join("photos"));
    let mut detect = command(&["detect", "colours.onnx", "photos", "-q", "--json", "-", "--out", "drawn"]);
    detect.current_dir(folder.path()).stdout(Stdio::piped());
    if let Some(libraries) = libraries() {
        detect.env("TRTFORGE_LIB_DIR", libraries);
    }
    let mut running = detect.spawn().expect("the binary starts");
    drop(running.stdout.take());
    assert!(running.wait().expect("an end").success());
    assert_eq!(std::fs::read_dir(folder.path().join("drawn")).expect("pictures").count(), 9);
}

#[test]
fn a_run_is_recorded() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photographs(&folder.path().join("photos"));
    let arguments = ["detect", "colours.onnx", "photos", "-q", "--monitor", "run.json", "--monitor", "run.svg"];
    run_in(folder.path(), &arguments).success();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a recording");
    let recording: Value = serde_json::from_str(&read("run.json")).expect("JSON");
    assert!(recording["title"].as_str().is_some_and(|title| title == "detect colours.onnx"), "{recording}");
    assert!(read("run.svg").contains("<svg"));
}

/// Runs with text on stdin.
fn run_with_input(folder: &Path, arguments: &[&str], text: &str) -> Run {
    let mut command = command(arguments);
    if let Some(libraries) = libraries() {
        command.env("TRTFORGE_LIB_DIR", libraries);
    }
    command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn lists_and_patterns_name_photographs() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    write_photographs(&folder.path().join("photos"));
    std::fs::write(folder.path().join("photos/list.txt"), "1.bmp\n# not this\n3.bmp\n").expect("a list");
    let count = |run: Run| run.json().as_array().map_or(0, Vec::len);
    let detect = |images: &str| run_in(folder.path(), &["detect", "colours.onnx", images, "--json", "-", "-q"]);
    assert_eq!(count(detect("photos/[0-2].bmp")), 3);
    assert_eq!(count(detect("@photos/list.txt")), 2);
    let arguments = ["detect", "colours.onnx", "-", "--json", "-", "-q"];
    assert_eq!(count(run_with_input(folder.path(), &arguments, "photos/8.bmp\nphotos/7.bmp\n")), 2);
    assert!(detect("photos/*.gif").failure(4).contains("nothing matches"));
    assert!(run_with_input(folder.path(), &arguments, "\n").failure(4).contains("no images"));
}

#[test]
fn thresholds_come_from_flags_then_config() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_colours();
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    write_photograph(&photos.join("1.bmp"), 64, 64, [102, 128, 0]);
    let config = "model: colours.onnx\npreprocess: {order: rgb}\n\
                  detector: {decoder: damo-yolo, score: 0.45, classes: names.txt}\n";
    std::fs::create_dir(folder.path().join("configs")).expect("a folder");
    std::fs::write(folder.path().join("configs/c.yaml"), config).expect("a config");
    std::fs::write(folder.path().join("configs/names.txt"), "rot\ngruen\n").expect("names");
    let detect = |more: &[&str]| {
        run_in(folder.path(), &[&["detect", "colours.onnx", "photos", "--json", "-", "-q"], more].concat())
    };
    let with_config = detect(&["--config", "configs/c.yaml"]).json();
    assert_eq!((with_config.as_array().map(Vec::len), &with_config[0]["category"]), (Some(1), &"gruen".into()));
    assert_eq!(detect(&["--config", "configs/c.yaml", "--score", "0.1"]).json().as_array().map(Vec::len), Some(2));
    assert_eq!(detect(&["--score", "0.1", "--max", "1"]).json().as_array().map(Vec::len), Some(1));
    assert_eq!(detect(&["--score", "0.99"]).json(), serde_json::json!([]));
    assert_eq!(detect(&["--coco-ids"]).json()[0]["category_id"], 2, "green is COCO's second class");
}

#[test]
fn outputs_that_fit_no_decoder_or_two_are_told() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let root = folder.path();
    write(root, "ambiguous.onnx", ambiguous_detector());
    write(root, "picture.onnx", open_picture());
    write_photograph(&root.join("p.bmp"), 64, 64, COLOURS[0]);
    let detect = |model: &str, more: &[&str]| run_in(root, &[&["detect", model, "p.bmp", "-q"], more].concat());
    insta::assert_snapshot!("no_image_input", detect("model.onnx", &[]).failure(4));
    insta::assert_snapshot!("no_decoder", detect("picture.onnx", &[]).failure(4));
    insta::assert_snapshot!("two_decoders", detect("ambiguous.onnx", &[]).failure(2));
    insta::assert_snapshot!("decoder_unfit", detect("ambiguous.onnx", &["--decoder", "damo-yolo"]).failure(2));
    insta::assert_snapshot!("decoder_unknown", detect("ambiguous.onnx", &["--decoder", "yolo"]).failure(2));
    insta::assert_snapshot!("score_out_of_range", detect("ambiguous.onnx", &["--score", "25"]).failure(2));
    insta::assert_snapshot!("batch_fixed", detect("ambiguous.onnx", &["--batch", "4"]).failure(2));
    detect("ambiguous.onnx", &["--decoder", "end-to-end", "--out", "drawn"]).success();
}

#[test]
fn an_engine_needs_a_gpu() {
    if !have_libraries() || Path::new("/dev/nvidia0").exists() {
        return;
    }
    let folder = folder_with_colours();
    write_photographs(&folder.path().join("photos"));
    run_in(folder.path(), &["build", "colours.onnx", "-o", "c.engine", "--batch", "2", "--precision", "fp32", "-q"])
        .success();
    let told = run_in(folder.path(), &["detect", "c.engine", "photos", "-q"]).failure(3);
    assert!(told.contains("GPU") && told.contains("hint:"), "{told}");
}
