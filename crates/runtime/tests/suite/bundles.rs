//! Real models cut into stage files with a bundle, against the whole model on ONNX Runtime.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trtforge_graph::{Graph, Model, NodeId, is_repeated, segment};
use trtforge_onnxruntime::OnnxRuntime;
use trtforge_runtime::{
    Budget, Class, Declared, Engine, EngineFault, EngineOptions, Error, Ledger, Request, SessionOptions, TensorInfo,
};

use crate::models::{model, noise};

fn tensor(info: &TensorInfo) -> Value {
    let dimension = |it: &Declared| match it {
        Declared::Fixed(size) => json!(size),
        Declared::Open(name) => json!(name),
    };
    let dimensions: Vec<Value> = info.dimensions.as_ref().unwrap().iter().map(dimension).collect();
    json!({"name": info.name, "element": "float32", "dimensions": dimensions})
}

fn tensors(infos: &[TensorInfo]) -> Vec<Value> {
    infos.iter().map(tensor).collect()
}

/// Nodes in as many runs of about equal length.
fn runs(graph: &Graph, count: usize) -> Vec<Vec<NodeId>> {
    let nodes: Vec<NodeId> = graph.node_ids().filter(|&node| !is_repeated(graph, node)).collect();
    (0..count).map(|at| nodes[at * nodes.len() / count..(at + 1) * nodes.len() / count].to_vec()).collect()
}

/// Cuts a model into stage files and writes the bundle as the builder does.
fn cut(source: &Path, folder: &Path, count: usize) -> PathBuf {
    let whole = Model::read(source).unwrap();
    let types = OnnxRuntime::load().unwrap().infer_types(&whole).unwrap();
    let mut graph = Graph::new(whole).unwrap();
    graph.set_types(types);
    let mut stages = Vec::new();
    for (number, nodes) in (1..).zip(runs(&graph, count)) {
        let part = segment(&graph, &nodes).unwrap();
        let bytes = part.to_bytes().unwrap();
        let digest = hex::encode(Sha256::digest(&bytes));
        let file = format!("m.stage{number}-{}.engine", &digest[..12]);
        std::fs::write(folder.join(&file), &bytes).unwrap();
        let signature = Engine::open(folder.join(&file)).unwrap().signature().clone();
        stages.push(json!({
            "file": file, "sha256": digest, "bytes": bytes.len(), "weights_bytes": part.weights_bytes(),
            "activation_bytes": 0, "boundary_bytes": 0,
            "inputs": tensors(&signature.inputs), "outputs": tensors(&signature.outputs),
        }));
    }
    let signature = Engine::open(source).unwrap().signature().clone();
    let (inputs, outputs) = (tensors(&signature.inputs), tensors(&signature.outputs));
    let bundle = json!({"trtforge_bundle": 1, "inputs": inputs, "outputs": outputs, "stages": stages});
    let path = folder.join("m.engine");
    // The first key is the one that a bundle is known by, which a map in order of its keys does not give.
    let rest = |key: &str| format!("{}: {}", json!(key), bundle[key]);
    let text = format!("{{\"trtforge_bundle\": 1,\n {},\n {},\n {}}}", rest("inputs"), rest("outputs"), rest("stages"));
    std::fs::write(&path, text).unwrap();
    path
}

/// Values of all outputs.
fn outputs(engine: &Engine, options: SessionOptions, shapes: &[&[u64]]) -> Vec<Vec<f32>> {
    let input = engine.signature().inputs[0].name.clone();
    let names: Vec<String> = engine.signature().outputs.iter().map(|it| it.name.clone()).collect();
    let mut session = engine.session(options).unwrap();
    let mut all = Vec::new();
    for (seed, shape) in (1..).zip(shapes) {
        session.set_shape(&input, shape).unwrap();
        session.input::<f32>(&input).unwrap().copy_from_slice(&noise(shape.iter().product(), seed));
        session.run().unwrap();
        all.extend(names.iter().map(|name| session.output::<f32>(name).unwrap().to_vec()));
    }
    all
}

/// ONNX Runtime fuses across cuts where there are none, so that sums may round otherwise.
fn compare(name: &str, parts: &[Vec<f32>], whole: &[Vec<f32>]) {
    assert_eq!(parts.len(), whole.len());
    for (got, expected) in parts.iter().zip(whole) {
        let scale = expected.iter().fold(1e-6f32, |most, value| most.max(value.abs()));
        let worst = got.iter().zip(expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs() / scale));
        assert!(got.len() == expected.len() && worst < 1e-5, "{name} differs by {worst}");
    }
}

fn opened(path: &Path, budget: Budget) -> (Engine, Ledger) {
    let ledger = Ledger::new(budget);
    let options = EngineOptions { ledger: ledger.clone(), ..EngineOptions::default() };
    (options.open(path).unwrap(), ledger)
}

fn agrees(name: &str, counts: &[usize], request: &Request, shapes: &[&[u64]]) {
    let Some(source) = model(name) else { return };
    let whole = outputs(&Engine::open(&source).unwrap(), request.clone().into(), shapes);
    for &count in counts {
        let folder = tempfile::tempdir().unwrap();
        let path = cut(&source, folder.path(), count);
        let (resident, ledger) = opened(&path, Budget::default());
        compare(name, &outputs(&resident, request.clone().into(), shapes), &whole);
        let full = ledger.peak_device_bytes();
        assert_eq!(resident.plan(request).unwrap().device_bytes(), full);
        // A byte less is too little for all of it; the plan says what is needed then, and that much is enough.
        let (planned, _) = opened(&path, Budget::device(full - 1));
        let floor = planned.plan(request).unwrap().device_bytes();
        assert!(floor < full, "{name} in {count}: {floor} of {full}");
        let (streaming, ledger) = opened(&path, Budget::device(floor));
        compare(name, &outputs(&streaming, request.clone().into(), shapes), &whole);
        assert_eq!(ledger.peak_device_bytes(), floor);
        assert_eq!(streaming.stages().len(), count);
        assert!(streaming.stages().iter().all(|stage| stage.runs == shapes.len() as u64 && stage.loads > 0));
        drop(streaming);
        assert_eq!(ledger.held().total_bytes(), 0);
    }
}

#[test]
fn a_small_network_in_stages_gives_what_the_whole_gives() {
    agrees("mnist_winml.onnx", &[2, 3], &Request::default(), &[&[1, 1, 28, 28][..]; 2]);
}

#[test]
fn a_detector_in_stages_gives_what_the_whole_gives() {
    agrees("yolox_nano_416.onnx", &[2, 3, 4], &Request::default(), &[&[1, 3, 416, 416][..]; 2]);
}

#[test]
fn a_batch_that_changes_passes_through_all_stages() {
    let shapes: [&[u64]; 3] = [&[2, 1, 224, 224], &[1, 1, 224, 224], &[2, 1, 224, 224]];
    agrees("superres_10.onnx", &[2, 3], &Request::batch(2), &shapes);
}

/// A small bundle with its stage files.
pub(crate) fn bundle() -> Option<(tempfile::TempDir, PathBuf, Vec<PathBuf>)> {
    let source = model("mnist_winml.onnx")?;
    let folder = tempfile::tempdir().unwrap();
    let path = cut(&source, folder.path(), 3);
    let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let stages = read["stages"].as_array().unwrap().iter();
    let files = stages.map(|stage| folder.path().join(stage["file"].as_str().unwrap())).collect();
    Some((folder, path, files))
}

fn fault(path: &Path) -> EngineFault {
    match Engine::open(path) {
        Err(Error::Unfit { source_name, fault }) => {
            assert_eq!(Path::new(&source_name), path);
            *fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stage_file_that_is_missing_cut_short_or_changed_is_named() {
    let Some((_folder, path, files)) = bundle() else { return };
    let second = std::fs::read(&files[1]).unwrap();
    let told = |fault: EngineFault| {
        let file = files[1].file_name().unwrap().to_str().unwrap();
        assert!(fault.to_string().contains(file) && fault.hint().is_some(), "{fault}");
        fault
    };
    std::fs::remove_file(&files[1]).unwrap();
    assert!(matches!(told(fault(&path)), EngineFault::StageMissing { stage: 2, .. }));
    for length in [0, 1, second.len() - 1] {
        std::fs::write(&files[1], &second[..length]).unwrap();
        let fault = told(fault(&path));
        let sizes = (length as u64, second.len() as u64);
        let is_told = matches!(fault, EngineFault::StageTruncated { stage: 2, actual_bytes, expected_bytes, .. } if (actual_bytes, expected_bytes) == sizes);
        assert!(is_told, "{fault}");
    }
    let mut altered = second.clone();
    altered[second.len() / 2] ^= 1;
    let first = std::fs::read(&files[0]).unwrap();
    let longer = [&second[..], b"x"].concat();
    for other in [altered, longer, first.into_iter().cycle().take(second.len()).collect()] {
        std::fs::write(&files[1], other).unwrap();
        assert!(matches!(told(fault(&path)), EngineFault::StageAltered { stage: 2, .. }));
    }
    std::fs::write(&files[1], second).unwrap();
    outputs(&Engine::open(&path).unwrap(), SessionOptions::default(), &[&[1, 1, 28, 28]]);
}

/// Changes the bundle's text and opens it.
fn changed(path: &Path, change: impl FnOnce(&mut Value)) -> EngineFault {
    let text = std::fs::read(path).unwrap();
    let mut read: Value = serde_json::from_slice(&text).unwrap();
    change(&mut read);
    let rest = ["inputs", "outputs", "stages"].map(|key| format!(", {}: {}", json!(key), read[key])).concat();
    std::fs::write(path, format!("{{\"trtforge_bundle\": {}{rest}}}", read["trtforge_bundle"])).unwrap();
    let fault = fault(path);
    std::fs::write(path, text).unwrap();
    fault
}

#[test]
fn a_bundle_that_does_not_fit_its_stages_is_told_what_is_wrong() {
    let Some((folder, path, files)) = bundle() else { return };
    let name = |fault: &EngineFault| fault.to_string();
    let swapped = changed(&path, |it| it["stages"].as_array_mut().unwrap().swap(0, 1));
    assert!(matches!(swapped, EngineFault::StageTensor { .. }), "{}", name(&swapped));
    let other = changed(&path, |it| it["stages"][1]["inputs"][0]["dimensions"] = json!([1, 7]));
    assert!(matches!(other, EngineFault::StageDisagrees { .. }), "{}", name(&other));
    let output = changed(&path, |it| it["outputs"][0]["name"] = json!("nothing"));
    assert!(matches!(output, EngineFault::StageOutput { .. }), "{}", name(&output));
    let input = changed(&path, |it| it["inputs"][0]["name"] = json!("nothing"));
    assert!(matches!(input, EngineFault::StageInputs { .. }), "{}", name(&input));
    let none = changed(&path, |it| it["stages"] = json!([]));
    assert!(matches!(none, EngineFault::NoStages), "{}", name(&none));
    let newer = changed(&path, |it| it["trtforge_bundle"] = json!(2));
    assert!(matches!(newer, EngineFault::BundleVersion { found: 2, .. }), "{}", name(&newer));
    // A file outside the bundle's folder is not looked at, even where it is there and fits.
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let moved = inner.join("m.engine");
    std::fs::copy(&path, &moved).unwrap();
    let file = files[0].file_name().unwrap().to_str().unwrap();
    let outside = changed(&moved, |it| it["stages"][0]["file"] = json!(format!("../{file}")));
    assert!(matches!(outside, EngineFault::Bundle { .. }), "{}", name(&outside));
    // A bundle of bundles, and a plan among models.
    for (bytes, reason) in [(std::fs::read(&path).unwrap(), "itself"), (plan(), "some are TensorRT engines")] {
        let nested = changed(&path, |it| {
            std::fs::write(&files[0], &bytes).unwrap();
            it["stages"][0]["sha256"] = json!(hex::encode(Sha256::digest(&bytes)));
            it["stages"][0]["bytes"] = json!(bytes.len());
        });
        assert!(matches!(nested, EngineFault::StageKind { .. }) && name(&nested).contains(reason), "{}", name(&nested));
    }
}

fn plan() -> Vec<u8> {
    let mut bytes = vec![0; 200];
    bytes[..4].copy_from_slice(b"vtrt");
    bytes[8] = 2;
    bytes[16..24].copy_from_slice(&200u64.to_le_bytes());
    bytes
}

#[test]
fn a_stage_that_is_not_what_the_bundle_says_is_told_when_it_is_loaded() {
    let Some((_folder, path, files)) = bundle() else { return };
    // The first stage's file in place of the second's: length and digest fit, tensors do not.
    let bytes = std::fs::read(&files[0]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut read: Value = serde_json::from_str(&text).unwrap();
    for key in ["file", "sha256", "bytes"] {
        read["stages"][1][key] = read["stages"][0][key].clone();
    }
    assert_eq!(read["stages"][1]["bytes"], json!(bytes.len()));
    let rest = ["inputs", "outputs", "stages"].map(|key| format!(", {}: {}", json!(key), read[key])).concat();
    std::fs::write(&path, format!("{{\"trtforge_bundle\": 1{rest}}}")).unwrap();
    let (engine, ledger) = opened(&path, Budget::default());
    let Err(Error::Stage { stage: 2, source, .. }) = engine.session(SessionOptions::default()) else { panic!() };
    let Error::Unfit { fault, .. } = *source else { panic!("{source}") };
    assert!(matches!(*fault, EngineFault::StageTensor { .. }), "{fault}");
    assert_eq!(ledger.held()[Class::Weights], 0);
}

#[test]
fn the_manifest_beside_a_bundle_is_of_the_bundle_file() {
    let Some((folder, path, _)) = bundle() else { return };
    let text = std::fs::read(&path).unwrap();
    let manifest = |digest: String| {
        let manifest = json!({
            "schema": 1, "tensorrt": {"flavour": "rtx", "version": "1.7.1"},
            "engine": {"sha256": digest, "bytes": text.len()}, "memory": {"weights_bytes": 10},
        });
        std::fs::write(folder.path().join("m.engine.json"), manifest.to_string()).unwrap();
    };
    manifest(hex::encode(Sha256::digest(&text)));
    Engine::open(&path).unwrap();
    manifest(hex::encode(Sha256::digest(b"another")));
    assert!(matches!(fault(&path), EngineFault::Digest { .. }));
}

#[test]
fn a_bundle_without_its_folder_is_refused() {
    let Some((_folder, path, _)) = bundle() else { return };
    let text = std::fs::read(&path).unwrap();
    let error = EngineOptions::default().from_bytes("it", text, None).unwrap_err();
    assert!(error.to_string().contains("it"), "{error}");
    let Error::Unfit { fault, .. } = error else { panic!("{error}") };
    assert!(matches!(*fault, EngineFault::Bundle { .. }), "{fault}");
}
