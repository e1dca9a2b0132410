//! `trtforge calibrate` with the real ONNX Runtime.

use crate::models::{deep, folder_with_classifier, write};
use crate::program::{Run, command, have_libraries, libraries, run_in};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// An `.npy` of 32-bit numbers that repeat no pattern soon.
fn array(path: &Path, shape: &[usize]) {
    let values = (0..shape.iter().product()).map(|index: usize| ((index * 7919 % 1009) as f32 - 500.0) / 250.0);
    std::fs::write(path, npy(shape, values)).expect("the array can be written");
}

/// The bytes of an `.npy` of 32-bit zeros.
fn zeros(shape: &[usize]) -> Vec<u8> {
    npy(shape, std::iter::repeat_n(0.0, shape.iter().product()))
}

fn npy(shape: &[usize], values: impl Iterator<Item = f32>) -> Vec<u8> {
    let shape_text: Vec<String> = shape.iter().map(usize::to_string).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", shape_text.join(", "));
    let padded = format!("{header:<117}\n");
    let mut bytes = [b"\x93NUMPY\x01\x00".as_slice(), &118u16.to_le_bytes(), padded.as_bytes()].concat();
    bytes.extend(values.flat_map(f32::to_le_bytes));
    bytes
}

/// Times, rates and memory differ from run to run.
fn steady(run: &Run) -> String {
    let varying = [", ", "memory", "time"];
    let line = |line: &str| match varying.iter().find(|word| line.starts_with(**word)) {
        Some(word) => format!("{word} ...\n"),
        None => line.split(" per second").next().map_or_else(String::new, |line| match line.rsplit_once(", ") {
            Some((start, rate)) if rate.parse::<f64>().is_ok() => format!("{start}, ... per second\n"),
            _ => format!("{line}\n"),
        }),
    };
    run.stdout.lines().map(line).collect()
}

fn calibrate(folder: &Path, more: &[&str]) -> Run {
    let arguments = ["calibrate", "model.onnx", "-q", "-o", "m.cache", "--calibration", "x.npy"];
    run_in(folder, &[&arguments, more].concat())
}

#[test]
fn a_cache_and_what_it_belongs_to() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    array(&folder.path().join("x.npy"), &[5, 4, 8, 8]);
    insta::assert_snapshot!("calibrate_table", steady(&calibrate(folder.path(), &["--table"]).success()));
    let cache = std::fs::read_to_string(folder.path().join("m.cache")).expect("a cache");
    let names: Vec<&str> = cache.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(names, ["TRT-101401-EntropyCalibration2", "x", "r", "p", "f"]);
    let again = calibrate(folder.path(), &["--calibration-method", "minmax"]).success();
    assert!(again.stdout.contains("m.cache.histograms  reused: no forward pass"), "{again}");
    let report = calibrate(folder.path(), &["--json"]).json();
    assert_eq!((&report["samples"], &report["earlier_samples"]), (&5.into(), &5.into()));
    assert_eq!(report["tensors"].as_array().map(Vec::len), Some(cache.lines().count() - 1));
    assert!(report["peak_resident_bytes"].as_u64() > Some(1 << 20), "{report}");
}

#[test]
fn histograms_of_other_data_are_refused_unless_forced() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    array(&folder.path().join("x.npy"), &[5, 4, 8, 8]);
    calibrate(folder.path(), &[]).success();
    insta::assert_snapshot!("calibrate_other_data", calibrate(folder.path(), &["--calibration-count", "3"]).failure(4));
    let forced = calibrate(folder.path(), &["--calibration-count", "3", "--force", "--json"]).json();
    assert_eq!(forced["samples"], 3);
}

#[test]
fn an_interrupted_calibration_continues() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "model.onnx", deep());
    array(&folder.path().join("x.npy"), &[8, 32, 256, 256]);
    let arguments = ["calibrate", "model.onnx", "-o", "m.cache", "--calibration", "x.npy", "--threads", "1"];
    let mut command = command(&arguments);
    command.env("TRTFORGE_LIB_DIR", libraries().expect("the libraries")).current_dir(folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while !line.contains(" of 8 samples") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).expect("stderr is text"), 0, "it ended before a sample was done");
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("stderr is text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest}");
    assert!(rest.contains("samples; what was seen is kept in m.cache.histograms"), "{rest}");
    assert!(rest.contains("hint: the same command continues from there"), "{rest}");
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).expect("a folder").flatten().map(|it| it.file_name()).collect();
    left.sort();
    assert_eq!(left, ["m.cache.histograms", "model.onnx", "x.npy"]);
    let resumed = run_in(folder.path(), &[&arguments[..], &["-q", "--json"]].concat()).json();
    assert_eq!(resumed["samples"], 8);
    assert!(resumed["earlier_samples"].as_u64() >= Some(1), "{resumed}");
}

#[test]
fn a_cache_serves_without_the_images_it_was_made_from_and_not_with_others() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    array(&folder.path().join("x.npy"), &[5, 4, 8, 8]);
    array(&folder.path().join("other.npy"), &[4, 4, 8, 8]);
    calibrate(folder.path(), &[]).success();
    let quantize = ["quantize", "model.onnx", "-o", "i.onnx", "--precision", "int8", "--calibration-cache", "m.cache"];
    let told = run_in(folder.path(), &[&quantize[..], &["-q", "--json"]].concat()).json();
    assert_eq!((&told["calibration"]["images"], &told["calibration"]["method"]), (&5.into(), &"auto".into()));
    std::fs::remove_file(folder.path().join("m.cache.histograms")).expect("the histograms");
    let told = run_in(folder.path(), &[&quantize[..], &["-q", "--json"]].concat()).json();
    assert_eq!((&told["calibration"]["images"], &told["calibration"]["method"]), (&5.into(), &"mse".into()));
    assert!(told["calibration"]["data_sha256"].is_string(), "{told}");
    let stale = run_in(folder.path(), &[&quantize[..], &["--calibration", "other.npy", "-q"]].concat()).failure(4);
    assert!(stale.contains("calibration data ") && stale.contains("number of images 5, now 4"), "{stale}");
}

/// Lines of a cache that the classifier does not know, or that it lacks.
#[test]
fn a_cache_that_does_not_fit_is_refused_by_tensor_unless_forced() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let quantize = |lines: &str, more: &[&str]| {
        let text = format!("TRT-8501-EntropyCalibration2\n{lines}");
        std::fs::write(folder.path().join("g.cache"), text).expect("a file");
        let arguments = ["quantize", "model.onnx", "-o", "i.onnx", "--precision", "int8", "-q"];
        run_in(folder.path(), &[&arguments[..], &["--calibration-cache", "g.cache", "--json"], more].concat())
    };
    let message = |run: Run| run.failure(4).lines().take(2).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("cache_lacks_a_tensor", message(quantize("r: 3c010a14\n", &[])));
    insta::assert_snapshot!("cache_has_a_stranger", message(quantize("x: 3c010a14\nstranger: 3c010a14\n", &[])));
    let forced = quantize("x: 3c010a14\nstranger: 3c010a14\n", &["--force"]).json();
    assert_eq!(forced["nodes"]["int8"], 1);
}

#[test]
fn inputs_that_are_all_zero_are_noted() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    std::fs::write(folder.path().join("none.npy"), zeros(&[2, 4, 8, 8])).expect("a file");
    let arguments = ["quantize", "model.onnx", "-o", "i.onnx", "--precision", "int8", "--calibration", "none.npy"];
    let told = run_in(folder.path(), &arguments).success().stderr;
    assert!(told.contains("note: tensor `x` is zero on every input: its scale says nothing of others"), "{told}");
}
