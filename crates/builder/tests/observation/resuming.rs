//! Interrupted calibrations go on where they were, and another method needs no pass.

use crate::{files, library, list, photographs, run, yolox};
use std::path::PathBuf;
use std::sync::Mutex;
use trtforge_builder::calibration::{Method, Sidecar, histograms_path};
use trtforge_builder::{CalibrateOptions, CalibrationMethod, CancelFlag, Error, Progress, calibrate};

/// Cancels after some images, and keeps the notes.
#[derive(Default)]
struct Stopping {
    after: u64,
    cancel: CancelFlag,
    notes: Mutex<Vec<String>>,
}

impl Progress for Stopping {
    fn advance_steadily(&self, _what: &str, done: u64, _total: u64) {
        if done == self.after {
            self.cancel.cancel();
        }
    }

    fn note(&self, message: &str) {
        self.notes.lock().unwrap().push(message.to_owned());
    }
}

fn case(folder: &tempfile::TempDir) -> Option<(CalibrateOptions, PathBuf)> {
    let images = list(folder.path(), "images.txt", &photographs(6).filter(|_| library())?);
    let cache = folder.path().join("a.cache");
    Some((yolox(&images, cache.clone())?, cache))
}

#[test]
fn a_resumed_calibration_is_like_one_in_one_go() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (Some((options, cache)), Some((whole, whole_cache))) = (case(&folder), case(&other)) else { return };
    for after in [2, 4] {
        let stopping = Stopping { after, ..Stopping::default() };
        let error = calibrate(&options, &stopping, &stopping.cancel).unwrap_err();
        let Error::CalibrationInterrupted { done, total: 6, path, .. } = error else { panic!("{error}") };
        assert!((after as usize..6).contains(&done), "{done} after {after}");
        assert!(path.exists() && !cache.exists() && !Sidecar::path_for(&cache).exists());
    }
    let resumed = run(&options).unwrap();
    assert!((4..6).contains(&resumed.earlier) && resumed.samples == 6, "{}", resumed.earlier);
    assert_eq!(run(&whole).unwrap().earlier, 0);
    assert_eq!(files(&cache), files(&whole_cache));
}

#[test]
fn another_method_needs_no_pass() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (Some((mut options, cache)), Some((mut whole, whole_cache))) = (case(&folder), case(&other)) else { return };
    (options.prepare.sample_count, whole.prepare.sample_count) = (Some(2), Some(2));
    run(&options).unwrap();
    options.method = CalibrationMethod::Minmax;
    let outcome = run(&options).unwrap();
    assert!(outcome.is_reused() && outcome.pass_seconds == 0.0 && outcome.samples_per_second().is_none());
    assert_eq!(outcome.method, Method::Minmax);
    assert!(outcome.tensors.iter().all(|tensor| tensor.threshold == tensor.amax()));
    whole.method = CalibrationMethod::Minmax;
    run(&whole).unwrap();
    assert_eq!(files(&cache), files(&whole_cache));
    let sidecar = Sidecar::read(&cache).unwrap().unwrap();
    assert_eq!(sidecar.binding.method.as_deref(), Some("minmax"));
    assert!(sidecar.verify(&sidecar.binding, &std::fs::read(&cache).unwrap()).is_empty());
}

#[test]
fn histograms_of_something_else_are_not_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut options, cache)) = case(&folder) else { return };
    options.prepare.sample_count = Some(1);
    run(&options).unwrap();
    let before = files(&cache);
    options.prepare.sample_count = Some(2);
    options.prepare.preprocess = None;
    let Err(Error::OtherHistograms { differences, .. }) = run(&options) else { panic!("they are another's") };
    let names: Vec<&str> = differences.iter().map(|difference| difference.what).collect();
    assert_eq!(names, ["calibration data", "preprocess block", "number of images"]);
    assert_eq!(files(&cache), before);
    options.force = true;
    let outcome = run(&options).unwrap();
    assert_eq!((outcome.earlier, outcome.samples), (0, 2));
}

#[test]
fn damaged_histograms_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let Some((mut options, cache)) = case(&folder) else { return };
    options.prepare.sample_count = Some(1);
    run(&options).unwrap();
    let (text, histograms) = files(&cache);
    std::fs::write(histograms_path(&cache), &histograms[..histograms.len() / 2]).unwrap();
    let listener = Stopping { after: u64::MAX, ..Stopping::default() };
    assert_eq!(calibrate(&options, &listener, &CancelFlag::default()).unwrap().earlier, 0);
    assert!(listener.notes.lock().unwrap().iter().any(|note| note.contains("damaged")));
    assert_eq!(files(&cache), (text, histograms));
}
