//! TensorRT engines. Without a GPU: everything up to its absence, with an engine that TensorRT really built. Runs need a GPU
//! that this TensorRT supports, and pass, saying so, where there is none.

use trtforge_runtime::{EngineFault, EngineOptions, Error, Ledger, Request};

use crate::models::model;

/// An engine of the digits' model, built here.
fn built() -> Option<Vec<u8>> {
    let model = std::fs::read(model("mnist_winml.onnx")?).unwrap();
    let builder = trtforge_tensorrt::TensorRt::load().unwrap().builder().unwrap();
    let mut network = builder.network().unwrap();
    network.parse_onnx(&model, None).unwrap();
    let mut config = builder.config().unwrap();
    Some(builder.build(&mut network, &mut config).unwrap().engine.to_vec())
}

fn open(bytes: &[u8]) -> Result<trtforge_runtime::Engine, Error> {
    EngineOptions::default().from_bytes("it", bytes.to_vec(), None)
}

#[test]
fn a_whole_engine_gets_as_far_as_the_gpu_with_and_without_a_prefix() {
    let Some(plan) = built() else { return };
    let json = br#"{"stride": 32, "names": {"0": "digit"}}"#;
    let prefixed = [&(json.len() as u32).to_le_bytes()[..], json, &plan].concat();
    for bytes in [&plan, &prefixed] {
        match open(bytes) {
            Err(Error::NoGpu { .. }) => eprintln!("skipped: no GPU"),
            Err(Error::Unfit { fault, .. }) if matches!(*fault, EngineFault::Refused { .. }) => {
                eprintln!("skipped: {fault}");
            }
            Ok(engine) => assert_eq!(engine.signature().inputs[0].name, "Input3"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn engines_that_do_not_fit_are_told_before_a_gpu_is_looked_for() {
    let Some(plan) = built() else { return };
    let mut older = plan.clone();
    older[25] = 2;
    let Err(Error::Unfit { fault, .. }) = open(&older) else { panic!("another version") };
    let EngineFault::Version { built, here } = *fault else { panic!("{fault}") };
    assert!(built.starts_with("1.2.") && built != here);
    for length in [64, plan.len() / 2, plan.len() - 1] {
        let Err(Error::Unfit { fault, .. }) = open(&plan[..length]) else { panic!("cut short") };
        assert!(matches!(*fault, EngineFault::Truncated { expected_bytes, .. } if expected_bytes == plan.len() as u64));
    }
}

/// A manifest for `plan` that says it was built so.
fn manifest(plan: &[u8], flavour: &str, version: &str, capabilities: &[&str]) -> Vec<u8> {
    use sha2::Digest;
    let manifest = serde_json::json!({
        "schema": 1,
        "tensorrt": {"flavour": flavour, "version": version},
        "engine": {"sha256": hex::encode(sha2::Sha256::digest(plan)), "bytes": plan.len()},
        "memory": {"weights_bytes": 10},
        "compute_capabilities": capabilities,
    });
    serde_json::to_vec(&manifest).unwrap()
}

#[test]
fn a_manifest_of_another_tensorrt_or_gpu_is_told() {
    let Some(plan) = built() else { return };
    let here = trtforge_tensorrt::TensorRt::load().unwrap().version().to_string();
    let open = |flavour: &str, version: &str, capabilities: &[&str]| {
        let manifest = manifest(&plan, flavour, version, capabilities);
        EngineOptions::default().from_bytes("it", plan.clone(), Some(&manifest))
    };
    let fault = |opened| match opened {
        Err(Error::Unfit { fault, .. }) => *fault,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(fault(open("enterprise", &here, &[])), EngineFault::Flavour { built, .. } if built == "enterprise")
    );
    assert!(matches!(fault(open("rtx", "0.9.0", &[])), EngineFault::Version { built, .. } if built == "0.9.0"));
    match open("rtx", &here, &["0.1"]) {
        Err(Error::NoGpu { .. }) => eprintln!("skipped: no GPU to be the wrong one"),
        Err(Error::Unfit { fault, .. }) => {
            assert!(matches!(*fault, EngineFault::ComputeCapability { .. } | EngineFault::Refused { .. }), "{fault}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_header_with_a_wrong_bit_is_an_error_value_or_gets_as_far_as_the_gpu() {
    let Some(plan) = built() else { return };
    let mut judged = 0;
    for byte in 0..64 {
        let mut wrong = plan.clone();
        wrong[byte] ^= 0x10;
        match open(&wrong) {
            Err(Error::Unfit { fault, .. }) => {
                assert!(!fault.to_string().is_empty());
                judged += 1;
            }
            // What TensorRT's own header check lets pass; a GPU's loader would judge the rest.
            Err(Error::NoGpu { .. } | Error::TensorRt(_)) | Ok(_) => {}
            Err(other) => panic!("byte {byte}: {other}"),
        }
    }
    assert!(judged >= 12, "at least mark, length and version are looked at: {judged}");
}

#[test]
fn digits_on_a_gpu_are_those_of_the_cpu_and_the_plan_is_what_the_ledger_shows() {
    let Some(plan) = built() else { return };
    let ledger = Ledger::default();
    let options = EngineOptions { ledger: ledger.clone(), ..EngineOptions::default() };
    let engine = match options.from_bytes("digits", plan, None) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("skipped: {error}");
            return assert_eq!(ledger.held().total_bytes(), 0);
        }
    };
    let request = Request::default().slots(2);
    let expected = engine.plan(&request).unwrap();
    let mut session = engine.session(request.into()).unwrap();
    assert_eq!(ledger.held(), expected);
    let cpu = trtforge_runtime::Engine::open(model("mnist_winml.onnx").unwrap()).unwrap();
    let mut reference = cpu.session(Request::default().into()).unwrap();
    for round in 0..20 {
        let pixels: Vec<f32> = (0..784).map(|index| ((index * (round + 3)) % 256) as f32).collect();
        reference.input::<f32>("Input3").unwrap().copy_from_slice(&pixels);
        reference.run().unwrap();
        let wanted = reference.output::<f32>("Plus214_Output_0").unwrap().to_vec();
        let mut tickets = Vec::new();
        for slot in 0..2 {
            let mut slot = session.slot(slot).unwrap();
            slot.input::<f32>("Input3").unwrap().copy_from_slice(&pixels);
            tickets.push(slot.submit().unwrap());
        }
        for (slot, ticket) in tickets.into_iter().enumerate() {
            session.wait(ticket).unwrap();
            let mut slot = session.slot(slot).unwrap();
            let got = slot.output::<f32>("Plus214_Output_0").unwrap();
            let scale = wanted.iter().fold(1e-6f32, |most, value| most.max(value.abs()));
            assert!(got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() / scale < 2e-3), "{got:?} for {wanted:?}");
        }
    }
    session.submit().unwrap();
    drop(session);
}

/// Writes a bundle of one stage.
fn bundle_of(plan: &[u8], folder: &std::path::Path) -> std::path::PathBuf {
    use sha2::Digest;
    std::fs::write(folder.join("m.stage1.engine"), plan).unwrap();
    let digest = hex::encode(sha2::Sha256::digest(plan));
    let input = r#""name": "Input3", "element": "float32", "dimensions": [1, 1, 28, 28]"#;
    let output = r#"{"name": "Plus214_Output_0", "element": "float32", "dimensions": [1, 10]}"#;
    let text = format!(
        r#"{{"trtforge_bundle": 1,
        "inputs": [{{{input}, "min": [1, 1, 28, 28], "max": [1, 1, 28, 28]}}], "outputs": [{output}],
        "stages": [{{"file": "m.stage1.engine", "sha256": "{digest}", "bytes": {}, "weights_bytes": 24000,
        "activation_bytes": 30000, "boundary_bytes": 3176, "inputs": [{{{input}}}], "outputs": [{output}]}}]}}"#,
        plan.len()
    );
    let path = folder.join("m.engine");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_bundle_of_engines_gets_as_far_as_the_gpu_and_one_of_another_version_is_told_before() {
    let Some(plan) = built() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut older = plan.clone();
    older[25] = 2;
    let Err(Error::Unfit { source_name, fault }) = EngineOptions::default().open(bundle_of(&older, folder.path()))
    else {
        panic!("another version")
    };
    assert!(matches!(*fault, EngineFault::Version { .. }) && source_name.ends_with("m.stage1.engine"), "{fault}");
    match EngineOptions::default().open(bundle_of(&plan, folder.path())) {
        Err(Error::NoGpu { .. }) => eprintln!("skipped: no GPU"),
        Err(Error::Unfit { fault, .. }) if matches!(*fault, EngineFault::Refused { .. }) => {
            eprintln!("skipped: {fault}")
        }
        Ok(engine) => {
            let mut session = engine.session(Request::default().into()).unwrap();
            session.run().unwrap();
        }
        Err(other) => panic!("{other}"),
    }
}
