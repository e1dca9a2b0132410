//! `OUT.engine.json` beside an engine: what can be checked before the engine is loaded.
//!
//! Only what loading needs is read; the builder owns the layout. A manifest is optional, but one that is there must fit.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::EngineFault;

/// Newest schema that is read here.
const SCHEMA: u32 = 1;

/// What loading needs of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) tensorrt: TensorRt,
    engine: EngineFile,
    pub(crate) memory: Memory,
    #[serde(default)]
    compute_capabilities: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct TensorRt {
    flavour: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct EngineFile {
    sha256: String,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Memory {
    pub(crate) weights_bytes: u64,
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// The manifest's path for an engine's.
pub(crate) fn path_for(engine: &Path) -> PathBuf {
    let mut name = engine.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

impl Manifest {
    /// Reads one.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, EngineFault> {
        let unreadable = |error: serde_json::Error| EngineFault::Manifest { reason: error.to_string() };
        let found = serde_json::from_slice::<Header>(text).map_err(unreadable)?.schema;
        if found == 0 || found > SCHEMA {
            return Err(EngineFault::Schema { found, newest: SCHEMA });
        }
        serde_json::from_slice(text).map_err(unreadable)
    }

    /// That it is of this file.
    pub(crate) fn check_file(&self, file: &[u8]) -> Result<(), EngineFault> {
        let actual_bytes = file.len() as u64;
        if actual_bytes < self.engine.bytes {
            return Err(EngineFault::Truncated { actual_bytes, expected_bytes: self.engine.bytes });
        }
        let actual = hex::encode(Sha256::digest(file));
        if actual.eq_ignore_ascii_case(&self.engine.sha256) {
            return Ok(());
        }
        Err(EngineFault::Digest { expected: self.engine.sha256.clone(), actual })
    }

    /// What it says of one stage that weighs this.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) fn of_stage(&self, weights_bytes: u64) -> Self {
        Self { memory: Memory { weights_bytes }, ..self.clone() }
    }

    /// That this program's TensorRT built it.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) fn check_library(&self, flavour: &str, version: &str) -> Result<(), EngineFault> {
        if self.tensorrt.flavour != flavour {
            let (built, here) = (self.tensorrt.flavour.clone(), flavour.to_owned());
            return Err(EngineFault::Flavour { built, here });
        }
        if self.tensorrt.version != version {
            let (built, here) = (self.tensorrt.version.clone(), version.to_owned());
            return Err(EngineFault::Version { built, here });
        }
        Ok(())
    }

    /// That it was built for this compute capability. One that was restricted to none runs on what TensorRT takes.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    pub(crate) fn check_gpu(&self, capability: (u32, u32)) -> Result<(), EngineFault> {
        let here = format!("{}.{}", capability.0, capability.1);
        if self.compute_capabilities.is_empty() || self.compute_capabilities.contains(&here) {
            return Ok(());
        }
        Err(EngineFault::ComputeCapability { built: self.compute_capabilities.clone(), here })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(schema: u32, digest: &str) -> String {
        format!(
            r#"{{"schema": {schema}, "trtforge": "0.1.0", "tensorrt": {{"flavour": "rtx", "version": "1.7.1"}},
            "engine": {{"sha256": "{digest}", "bytes": 3}}, "memory": {{"weights_bytes": 7, "activation_bytes": 1}},
            "compute_capabilities": ["8.6", "8.9"], "something": "newer"}}"#
        )
    }

    fn parsed() -> Manifest {
        Manifest::parse(manifest(1, &hex::encode(Sha256::digest(b"abc"))).as_bytes()).unwrap()
    }

    #[test]
    fn what_fits_passes_and_each_misfit_is_told() {
        let manifest = parsed();
        manifest.check_file(b"abc").unwrap();
        manifest.check_library("rtx", "1.7.1").unwrap();
        manifest.check_gpu((8, 6)).unwrap();
        assert!(matches!(manifest.check_file(b"abd"), Err(EngineFault::Digest { .. })));
        assert!(matches!(manifest.check_file(b"ab"), Err(EngineFault::Truncated { .. })));
        assert!(matches!(manifest.check_library("enterprise", "1.7.1"), Err(EngineFault::Flavour { .. })));
        assert!(matches!(manifest.check_library("rtx", "1.8.0"), Err(EngineFault::Version { .. })));
        let Err(fault) = manifest.check_gpu((9, 0)) else { panic!("not built for it") };
        assert_eq!(fault.to_string(), "it was built for compute capability 8.6, 8.9, and this GPU has 9.0");
        assert!(fault.hint().is_some());
    }

    #[test]
    fn what_is_no_manifest_or_too_new_is_refused() {
        assert!(matches!(Manifest::parse(b"{"), Err(EngineFault::Manifest { .. })));
        assert!(matches!(Manifest::parse(b"{\"schema\": 1}"), Err(EngineFault::Manifest { .. })));
        for schema in [0, 2] {
            let fault = Manifest::parse(manifest(schema, "").as_bytes()).unwrap_err();
            assert!(matches!(fault, EngineFault::Schema { newest: SCHEMA, .. }));
        }
    }

    #[test]
    fn it_lies_beside_the_engine() {
        assert_eq!(path_for(Path::new("a/m.engine")), Path::new("a/m.engine.json"));
    }
}
