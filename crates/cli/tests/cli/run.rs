//! `trtforge run` with the real ONNX Runtime.

use crate::models::{doubling, folder_with_classifier, write};
use crate::program::{have_libraries, run_in};
use npyz::WriterBuilder;
use std::path::Path;

fn write_array(path: &Path, shape: &[u64], values: impl IntoIterator<Item = f32>) {
    let file = std::fs::File::create(path).expect("a file");
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(file).begin_nd().expect("a header");
    writer.extend(values).expect("elements");
    writer.finish().expect("a whole file");
}

fn read_array(path: &Path) -> (Vec<u64>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let array = npyz::NpyFile::new(bytes.as_slice()).expect("an array");
    (array.shape().to_vec(), array.into_vec().expect("32-bit numbers"))
}

#[test]
fn rows_of_arrays_come_out_in_their_order_whatever_the_batch() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let values = (0..5 * 4 * 8 * 8).map(|index| ((index * 31 % 97) as f32 - 48.0) / 20.0);
    write_array(&folder.path().join("x.npy"), &[5, 4, 8, 8], values);
    let at_once = run_in(folder.path(), &["run", "model.onnx", "-i", "x=x.npy", "-o", "whole", "--json"]).json();
    assert_eq!((&at_once["runs"], &at_once["rows"]), (&1.into(), &5.into()), "{at_once}");
    let (shape, whole) = read_array(&folder.path().join("whole/y.npy"));
    assert_eq!(shape, [5, 10]);
    for batch in ["1", "2", "3"] {
        let arguments = ["run", "model.onnx", "-i", "x.npy", "-o", "parts", "--batch", batch, "--slots", "3", "-q"];
        run_in(folder.path(), &arguments).success();
        let (shape, parts) = read_array(&folder.path().join("parts/y.npy"));
        assert_eq!(shape, [5, 10], "batch {batch}");
        for (whole, part) in whole.iter().zip(&parts) {
            assert!((whole - part).abs() < 1e-5, "batch {batch}: {whole} and {part}");
        }
    }
    let arguments = ["run", "model.onnx", "-i", "x.npy", "-o", "each", "--batch", "2", "--separate", "-q"];
    run_in(folder.path(), &arguments).success();
    let last = read_array(&folder.path().join("each/y.000002.npy"));
    assert_eq!((last.0.as_slice(), last.1.len()), ([1, 10].as_slice(), 10));
}

#[test]
fn outputs_are_the_models_own_numbers() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "double.onnx", doubling(&[1, 3]));
    write_array(&folder.path().join("x.npy"), &[2, 3], [0.0, 1.5, -2.0, 3.0, 0.25, 1e30]);
    let shown = run_in(folder.path(), &["run", "double.onnx", "-i", "x.npy", "-o", "out", "-q"]).success().stdout;
    assert_eq!(read_array(&folder.path().join("out/y.npy")), (vec![2, 3], vec![0.0, 3.0, -4.0, 6.0, 0.5, 2e30]));
    assert!(shown.contains("2 samples in 2 runs"), "{shown}");
    let left: Vec<_> = std::fs::read_dir(folder.path().join("out")).expect("a folder").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A bitmap of 2 by 2 pixels, all of one grey.
fn grey_bitmap(level: u8) -> Vec<u8> {
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let row = [level, level, level, level, level, level, 0, 0];
    [b"BM", numbers(&[70, 0, 54, 40, 2, 2, 1 | 24 << 16, 0, 16, 0, 0, 0, 0]).as_slice(), &row, &row].concat()
}

#[test]
fn images_are_named_and_those_that_cannot_be_read_left_out() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "double.onnx", doubling(&[1, 3, 2, 2]));
    let photos = folder.path().join("photos");
    std::fs::create_dir(&photos).expect("a folder");
    for (name, level) in [("a", 10u8), ("c", 200)] {
        std::fs::write(photos.join(format!("{name}.bmp")), grey_bitmap(level)).expect("an image");
    }
    std::fs::write(photos.join("b.jpg"), b"no image").expect("a file");
    let report = run_in(folder.path(), &["run", "double.onnx", "-i", "photos", "-o", "out", "-q", "--json"]).json();
    assert_eq!(report["rows"], 2, "{report}");
    assert_eq!(report["unreadable"].as_array().map(Vec::len), Some(1), "{report}");
    let (shape, values) = read_array(&folder.path().join("out/y.npy"));
    assert_eq!((shape.as_slice(), values[0], values[12]), ([2, 3, 2, 2].as_slice(), 20.0, 400.0));
    let names = std::fs::read_to_string(folder.path().join("out/images.txt")).expect("a list");
    assert_eq!(names, "photos/a.bmp\nphotos/c.bmp\n");
}

#[test]
fn what_does_not_fit_is_told() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let root = folder.path();
    write(root, "open.onnx", crate::models::open_picture());
    write_array(&root.join("short.npy"), &[2, 4, 8, 7], vec![0.0; 448]);
    std::fs::write(root.join("cut.npy"), b"\x93NUMPY").expect("a file");
    for (name, arguments, code) in [
        ("array_of_another_shape", &["-i", "short.npy"][..], 4),
        ("array_cut_short", &["-i", "cut.npy"], 4),
        ("array_absent", &["-i", "nothing.npy"], 4),
        ("input_unknown", &["-i", "z=short.npy"], 2),
        ("shape_of_unknown_input", &["--shape", "z=1x2"], 2),
        ("shape_against_the_model", &["--shape", "x=1x4x8x9"], 2),
        ("budget_too_small", &["--budget", "1KiB", "--slots", "1", "--batch", "1"], 1),
    ] {
        let run = run_in(root, &[&["run", "model.onnx", "-q", "-o", "out"], arguments].concat());
        insta::assert_snapshot!(name, run.failure(code));
        assert_eq!(std::fs::read_dir(root.join("out")).map_or(0, Iterator::count), 0, "{name} left something behind");
    }
    insta::assert_snapshot!("shape_open", run_in(root, &["run", "open.onnx", "-q"]).failure(2));
    run_in(root, &["run", "open.onnx", "-q", "--shape", "x=1x3x6x5"]).success();
}

#[test]
fn an_engine_needs_a_gpu_and_says_so() {
    if !have_libraries() || Path::new("/dev/nvidia0").exists() {
        return;
    }
    let folder = folder_with_classifier();
    run_in(folder.path(), &["build", "model.onnx", "-o", "m.engine", "--batch", "1", "--precision", "fp32", "-q"])
        .success();
    let told = run_in(folder.path(), &["run", "m.engine", "-q"]).failure(3);
    assert!(told.contains("GPU") && told.contains("hint:"), "{told}");
}
