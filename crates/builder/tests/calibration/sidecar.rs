//! Sidecars: what they notice, and caches that have none.

use std::collections::BTreeMap;
use trtforge_builder::Error;
use trtforge_builder::calibration::{
    Binding, CacheFit, CacheHeader, CalibrationCache, ChosenThreshold, Method, Sidecar, SkippedImage, check_tensors,
};

fn cache(tensors: &[&str]) -> CalibrationCache {
    let header = CacheHeader { version: "101401".into(), algorithm: "EntropyCalibration2".into() };
    CalibrationCache::new(header, tensors.iter().map(|name| (name.to_string(), 0.1))).unwrap()
}

fn binding() -> Binding {
    Binding {
        model_sha256: Some("11".repeat(32)),
        data_sha256: Some("22".repeat(32)),
        preprocess_sha256: Some("33".repeat(32)),
        shapes: Some(BTreeMap::from([("images".into(), "1x3x640x640".parse().unwrap())])),
        images: Some(300),
        method: Some("auto".into()),
    }
}

fn sidecar(cache: &CalibrationCache) -> Sidecar {
    let mut sidecar = Sidecar::new(binding(), cache);
    let chosen = ChosenThreshold { method: Method::Percentile(99.9), threshold: 1.0e-7 / 3.0 };
    sidecar.tensors.insert("a".into(), chosen);
    sidecar.skipped.push(SkippedImage { path: "broken.jpg".into(), reason: "it is no image".into() });
    sidecar
}

#[test]
fn survives_a_round_trip() {
    let sidecar = sidecar(&cache(&["a"]));
    assert_eq!(Sidecar::parse(sidecar.to_json().as_bytes()).unwrap(), sidecar);
    assert!(sidecar.to_json().contains("\"percentile-99.9\""));
    let bare = Sidecar::new(Binding::default(), &cache(&[]));
    assert_eq!(Sidecar::parse(bare.to_json().as_bytes()).unwrap(), bare);
}

#[test]
fn lies_beside_its_cache_and_a_cache_without_one_is_foreign() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.cache");
    assert_eq!(Sidecar::read(&path).unwrap(), None);
    let cache = cache(&["a", "b"]);
    sidecar(&cache).write_with(&cache, &path).unwrap();
    assert_eq!(CalibrationCache::read(&path).unwrap(), cache);
    let read = Sidecar::read(&path).unwrap().unwrap();
    read.require(&binding(), &std::fs::read(&path).unwrap(), &path).unwrap();
    std::fs::write(folder.path().join("net.cache.json"), "{\"schema\": 2}").unwrap();
    let error = Sidecar::read(&path).unwrap_err();
    assert!(matches!(&error, Error::Sidecar { reason, .. } if reason.contains("reads up to 1")), "{error}");
}

#[test]
fn every_part_that_changed_is_named() {
    let cache = cache(&["a"]);
    let (sidecar, bytes) = (sidecar(&cache), cache.to_bytes());
    assert_eq!(sidecar.verify(&binding(), &bytes), []);
    let changed = |change: fn(&mut Binding)| {
        let mut current = binding();
        change(&mut current);
        sidecar.verify(&current, &bytes).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(changed(|now| now.model_sha256 = Some("44".repeat(32))), ["model 111111111111, now 444444444444"]);
    assert_eq!(changed(|now| now.images = Some(16)), ["number of images 300, now 16"]);
    assert_eq!(changed(|now| now.method = Some("mse".into())), ["method auto, now mse"]);
    let others = changed(|now| {
        now.data_sha256 = Some(String::new());
        now.preprocess_sha256 = Some("x".into());
        now.shapes = Some(BTreeMap::from([("images".into(), "1x3x32x32".parse().unwrap())]));
    });
    assert_eq!(others.len(), 3);
    assert_eq!(others[2], "input shapes images=1x3x640x640, now images=1x3x32x32");
    assert_eq!(changed(|now| *now = Binding::default()), Vec::<String>::new());
}

#[test]
fn an_edited_cache_is_stale() {
    let cache = cache(&["a"]);
    let mut bytes = cache.to_bytes();
    bytes.push(b'\n');
    let error = sidecar(&cache).require(&binding(), &bytes, "net.cache".as_ref()).unwrap_err();
    assert!(error.to_string().contains("cache file "), "{error}");
    assert!(error.hint().unwrap().contains("--force"));
}

#[test]
fn imported_caches_are_held_against_the_model() {
    let cache = cache(&["a", "b", "(Unnamed Layer* 3) [Shuffle]_output", "stranger"]);
    let known = |name: &str| ["a", "b", "c"].contains(&name);
    let fit = check_tensors(&cache, &["a".into(), "c".into()], &known);
    assert_eq!(fit, CacheFit { missing: vec!["c".into()], foreign: vec!["stranger".into()] });
    let error = fit.require("net.cache".as_ref()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no scale for `c`") && text.contains("does not have `stranger`"), "{text}");
    let many = CacheFit { missing: (0..9).map(|number| number.to_string()).collect(), foreign: vec![] };
    assert!(
        many.require("net.cache".as_ref()).unwrap_err().to_string().ends_with("`0`, `1`, `2`, `3`, `4` and 4 more")
    );
    check_tensors(&cache, &["a".into()], &|_| true).require("net.cache".as_ref()).unwrap();
}
