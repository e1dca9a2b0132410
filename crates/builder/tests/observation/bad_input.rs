//! Images that cannot be read, values that are no numbers, tensors that are always zero, nothing at all.

use crate::{files, library, list, options, photographs, roots, run, test_data};
use std::path::{Path, PathBuf};
use trtforge_builder::calibration::Sidecar;
use trtforge_builder::{CalibrateOptions, CancelFlag, CompareOptions, Error, compare};
use trtforge_vision::RgbImage;

/// A picture of one grey.
fn grey(folder: &Path, name: &str, level: u8) -> PathBuf {
    let path = folder.join(name);
    RgbImage::from_pixel(9, 9, [level; 3].into()).save(&path).unwrap();
    path
}

/// A calibration of the small model on `images`.
fn small(folder: &Path, offset: f32, batch: u64, images: &[PathBuf]) -> CalibrateOptions {
    let samples = list(folder, "images.txt", images);
    options(&roots(folder, offset, batch), &samples, folder.join("a.cache"))
}

fn corrupt(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, b"no image").unwrap();
    path
}

#[test]
fn a_few_unreadable_images_are_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let mut images: Vec<PathBuf> =
        (0..5).map(|index| grey(folder.path(), &format!("{index}.png"), 40 * index)).collect();
    run(&small(folder.path(), 0.0, 1, &images)).unwrap();
    let expected = files(&folder.path().join("a.cache")).0;
    images.insert(2, corrupt(folder.path(), "bad.jpg"));
    for (batch, threads) in [(1, 1), (1, 3), (2, 2), (4, 1)] {
        let options = CalibrateOptions { threads, force: true, ..small(folder.path(), 0.0, batch, &images) };
        let outcome = run(&options).unwrap();
        assert_eq!((outcome.samples, outcome.unreadable.len()), (5, 1), "batch {batch}");
        assert_eq!(outcome.unreadable[0].index, 2);
        assert_eq!(files(&outcome.cache).0, expected, "batch {batch}");
        let skipped = Sidecar::read(&outcome.cache).unwrap().unwrap().skipped;
        assert!(skipped[0].path.ends_with("bad.jpg") && skipped[0].reason.contains("not an image"), "{skipped:?}");
    }
}

#[test]
fn half_of_the_images_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let image = |index: u8| match index % 2 {
        0 => grey(folder.path(), &format!("{index}.png"), index),
        _ => corrupt(folder.path(), &format!("{index}.jpg")),
    };
    let images: Vec<PathBuf> = (0..12).map(image).collect();
    let mut options = small(folder.path(), 0.0, 1, &images);
    let error = run(&options).unwrap_err();
    let hint = error.hint().unwrap_or_default();
    let message = error.to_string();
    let Error::UnreadableImages { count: 2.., limit: 1, images: 12, .. } = error else { panic!("{error}") };
    assert!(message.contains("1.jpg: is not an image in a known format"), "{message}");
    assert!(hint.contains("--max-unreadable"), "{hint}");
    assert!(!options.output.exists() && !Sidecar::path_for(&options.output).exists());
    options.prepare.max_unreadable = Some(6);
    assert_eq!(run(&options).unwrap().samples, 6);
}

#[test]
fn no_readable_image_at_all() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let mut options = small(folder.path(), 0.0, 1, &[corrupt(folder.path(), "a.jpg"), folder.path().join("none.png")]);
    options.prepare.max_unreadable = Some(9);
    let error = run(&options).unwrap_err();
    assert!(matches!(error, Error::UnreadableImages { count: 2, images: 2, .. }), "{error}");
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    options.prepare.samples = trtforge_builder::SampleSource::Path(folder.path().join("empty"));
    let error = run(&options).unwrap_err();
    assert!(matches!(error, Error::NoImages { .. }) && error.hint().is_some(), "{error}");
    options.prepare.samples = trtforge_builder::SampleSource::Synthetic;
    assert!(matches!(run(&options).unwrap_err(), Error::NoCalibrationData));
}

#[test]
fn a_comparison_passes_over_unreadable_images_too() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let mut images: Vec<PathBuf> = (1..4).map(|index| grey(folder.path(), &format!("{index}.png"), index)).collect();
    images.insert(1, corrupt(folder.path(), "bad.png"));
    let reference = small(folder.path(), 0.0, 1, &images).prepare;
    let candidate = reference.model.clone();
    let mut options = CompareOptions { reference, candidate };
    let found = compare(&options, &(), &CancelFlag::default()).unwrap();
    assert_eq!((found.samples, found.outputs[0].sqnr_db), (3, None));
    options.reference.max_unreadable = Some(0);
    let error = compare(&options, &(), &CancelFlag::default()).unwrap_err();
    assert!(matches!(error, Error::UnreadableImages { count: 1, limit: 0, .. }), "{error}");
}

#[test]
fn black_images_make_dead_tensors() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let images: Vec<PathBuf> = (0..2).map(|index| grey(folder.path(), &format!("{index}.png"), 0)).collect();
    let outcome = run(&small(folder.path(), 0.0, 1, &images)).unwrap();
    let dead: Vec<&str> = outcome.dead().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(dead, ["root", "r"]);
    assert!(outcome.tensors.iter().all(|tensor| tensor.threshold == 0.0 && tensor.zeros == 1.0));
    let cache = files(&outcome.cache).0;
    assert!(cache.contains("\nroot: 38800000\n"), "a dead tensor has a positive scale: {cache}");
}

#[test]
fn values_that_are_no_numbers_are_named_with_their_image_and_origin() {
    let folder = tempfile::tempdir().unwrap();
    if !library() {
        return;
    }
    let images = [grey(folder.path(), "light.png", 200), grey(folder.path(), "dark.png", 20)];
    let options = small(folder.path(), 100.0, 1, &images);
    let error = run(&options).unwrap_err();
    let hint = error.hint();
    let Error::NonFiniteActivation { tensor, value, sample, origin } = error else { panic!("{error}") };
    assert!(value.is_nan() && sample.ends_with("dark.png"), "{sample}");
    assert_eq!((tensor.as_str(), origin.as_str()), ("root", "root"));
    assert!(hint.is_some() && !options.output.exists());
}

#[test]
fn open_sizes_need_a_shape() {
    let (Some(model), Some(images)) = (test_data("models/ppocr_v3_det.onnx"), photographs(1)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let samples = list(folder.path(), "images.txt", &images);
    let error = run(&options(&model, &samples, folder.path().join("a.cache"))).unwrap_err();
    assert!(error.hint().unwrap_or_default().contains("--opt-shape"), "{error}");
}
