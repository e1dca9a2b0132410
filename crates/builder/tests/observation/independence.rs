//! The same numbers whatever the threads, the order and the batch.

use crate::{files, library, list, options, photographs, run, test_data, yolox};
use std::path::Path;
use trtforge_builder::passes::{freeze_shapes, resolve_shapes};
use trtforge_builder::{CalibrateOptions, NamedShape, ShapeRequest};
use trtforge_graph::Model;

#[test]
fn threads_and_order_change_nothing() {
    let Some(mut images) = photographs(6).filter(|_| library()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let forward = list(folder.path(), "forward.txt", &images);
    images.reverse();
    let backward = list(folder.path(), "backward.txt", &images);
    for (name, samples, threads) in [("one", &forward, 1), ("two", &forward, 2), ("back", &backward, 2)] {
        let outcome = run(&CalibrateOptions { threads, ..yolox(samples, path(name)).unwrap() }).unwrap();
        assert_eq!((outcome.samples, outcome.earlier, outcome.unreadable.len()), (6, 0, 0));
        assert!(outcome.tensors.len() > 90 && outcome.dead().count() == 0, "{}", outcome.tensors.len());
        for tensor in &outcome.tensors {
            assert!(tensor.threshold > 0.0 && tensor.threshold <= tensor.amax(), "{tensor:?}");
        }
    }
    let one = files(&path("one"));
    assert!(one.0.starts_with("TRT-101401-EntropyCalibration2\n"), "{}", one.0);
    assert_eq!(one, files(&path("two")));
    assert_eq!(one.0, files(&path("back")).0);
}

/// The model with its batch fixed, in the folder.
fn frozen(folder: &Path, model: &str, shape: &str) -> std::path::PathBuf {
    let mut frozen = Model::read(&test_data(model).unwrap()).unwrap();
    let mut request = ShapeRequest::default();
    request.set_opt(shape.parse::<NamedShape>().unwrap());
    let shapes = resolve_shapes(&frozen, &request, None).unwrap();
    freeze_shapes(&mut frozen, &shapes);
    let path = folder.join(format!("{}.onnx", shape.replace('=', "-")));
    frozen.write(&path).unwrap();
    path
}

#[test]
fn a_fixed_batch_changes_nothing() {
    let Some(images) = photographs(6).filter(|_| library()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let samples = list(folder.path(), "images.txt", &images);
    for (model, size, scale) in [
        ("models/superres_10.onnx", "input=Nx1x224x224", "{scale: 0.00392156862745098}"),
        ("models/ppocr_v3_det.onnx", "x=Nx3x64x96", "{scale: 0.00392156862745098, mean: [0.5, 0.4, 0.4]}"),
    ] {
        let mut caches = Vec::new();
        for batch in ["1", "4", "16"] {
            let model = frozen(folder.path(), model, &size.replace('N', batch));
            let cache = folder.path().join(format!("{batch}.cache"));
            let mut options = CalibrateOptions { force: true, ..options(&model, &samples, cache.clone()) };
            options.prepare.preprocess = Some(serde_saphyr::from_str(scale).unwrap());
            assert_eq!(run(&options).unwrap().samples, 6);
            caches.push(files(&cache).0);
        }
        assert_eq!(caches[0], caches[1], "{model} at batch 4");
        assert_eq!(caches[0], caches[2], "{model} at batch 16");
    }
}

#[test]
fn an_open_batch_is_calibrated_one_by_one() {
    let Some(images) = photographs(3).filter(|_| library()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let samples = list(folder.path(), "images.txt", &images);
    let cache = folder.path().join("a.cache");
    let mut options = options(&test_data("models/superres_10.onnx").unwrap(), &samples, cache.clone());
    run(&options).unwrap();
    let one_by_one = files(&cache);
    options.prepare.shapes.set_opt("input=4x1x224x224".parse().unwrap());
    assert!(run(&options).unwrap().is_reused(), "the batch is no part of what a calibration is made from");
    assert_eq!(files(&cache), one_by_one);
}
