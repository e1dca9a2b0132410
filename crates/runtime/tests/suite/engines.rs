//! Engine files that do not fit: each is told for what it is, before anything is loaded.

use std::io::Read;

use trtforge_runtime::{Engine, EngineFault, EngineOptions, Error};

fn plan(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(b"vtrt");
    bytes[8] = 2;
    bytes[16..24].copy_from_slice(&(length as u64).to_le_bytes());
    bytes[24..27].copy_from_slice(&[1, 7, 1]);
    bytes
}

fn manifest(bytes: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    use sha2::Digest;
    let mut manifest = serde_json::json!({
        "schema": 1,
        "tensorrt": {"flavour": "rtx", "version": "1.7.1"},
        "engine": {"sha256": hex::encode(sha2::Sha256::digest(bytes)), "bytes": bytes.len()},
        "memory": {"weights_bytes": 10},
        "compute_capabilities": [],
    });
    change(&mut manifest);
    serde_json::to_vec(&manifest).unwrap()
}

fn fault(bytes: Vec<u8>, manifest: Option<&[u8]>) -> EngineFault {
    match EngineOptions::default().from_bytes("it", bytes, manifest) {
        Err(Error::Unfit { source_name, fault }) => {
            assert_eq!(source_name, "it");
            *fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_misfit_has_its_own_error() {
    assert!(matches!(fault(vec![], None), EngineFault::Empty));
    assert!(matches!(fault(b"\x7fELF and so on".to_vec(), None), EngineFault::NotAnEngine { .. }));
    assert!(matches!(fault(plan(200)[..150].to_vec(), None), EngineFault::Truncated { expected_bytes: 200, .. }));
    let whole = plan(200);
    let mut other = whole.clone();
    other[150] ^= 1;
    let of_whole = manifest(&whole, |_| ());
    assert!(matches!(fault(other, Some(&of_whole)), EngineFault::Digest { .. }));
    let newer = manifest(&whole, |manifest| manifest["schema"] = 9.into());
    assert!(matches!(fault(whole.clone(), Some(&newer)), EngineFault::Schema { found: 9, .. }));
    assert!(matches!(fault(whole, Some(b"nonsense")), EngineFault::Manifest { .. }));
}

#[test]
fn the_manifest_beside_a_file_is_read_and_a_missing_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.engine");
    std::fs::write(&path, plan(200)).unwrap();
    std::fs::write(folder.path().join("m.engine.json"), manifest(&plan(100), |_| ())).unwrap();
    let Err(Error::Unfit { fault, .. }) = Engine::open(&path) else { panic!() };
    assert!(matches!(*fault, EngineFault::Digest { .. }), "{fault}");
    let error = Engine::open(folder.path().join("absent.engine")).unwrap_err();
    assert!(matches!(error, Error::Io { action: "open", .. }), "{error}");
}

#[test]
fn a_reader_that_fails_is_an_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    assert!(matches!(EngineOptions::default().read("it", Broken), Err(Error::Io { action: "read", .. })));
}

#[cfg(not(feature = "tensorrt"))]
#[test]
fn an_engine_that_fits_needs_the_feature() {
    let bytes = plan(200);
    let fits = manifest(&bytes, |_| ());
    let prefix = br#"{"stride": 32}"#;
    let prefixed = [&(prefix.len() as u32).to_le_bytes()[..], prefix, &bytes].concat();
    for (bytes, manifest) in [(bytes, Some(fits)), (prefixed, None)] {
        let error = EngineOptions::default().from_bytes("it", bytes, manifest.as_deref()).unwrap_err();
        assert!(matches!(error, Error::FeatureOff { feature: "tensorrt", .. }), "{error}");
    }
}
