//! `OUT.engine.json`: what an engine was made from, what it needs and how exact it is.
//!
//! The schema is versioned; a reader refuses a newer one instead of guessing.

use crate::activation::ActivationAccount;
use crate::form::LeanForm;
use crate::int8::CalibrationSummary;
use crate::precision::{NodePrecision, PrecisionCounts, PrecisionRow, node_label};
use crate::shapes::ShapeRange;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_graph::{Graph, NodeId};

pub use crate::metrics::OutputAccuracy;

/// The schema this version writes and the newest it reads.
pub const SCHEMA: u32 = 1;

/// Nodes of a larger network are not listed one by one: a manifest stays below a megabyte.
pub const MOST_LISTED_NODES: usize = 5000;

/// Everything known about a built engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub schema: u32,
    /// Version of the tool that wrote it.
    pub trtforge: String,
    /// TensorRT that built the engine; engines load in the same release only.
    pub tensorrt: TensorRtInfo,
    /// The model it was built from.
    pub model: ModelInfo,
    /// The engine file.
    pub engine: FileInfo,
    /// Precision asked for and what came of it.
    pub precision: PrecisionInfo,
    /// What INT8 was calibrated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationSummary>,
    /// How the network was laid out anew to take less memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<LeanForm>,
    /// Shape range per input.
    pub shapes: BTreeMap<String, ShapeRange>,
    /// Memory the engine takes.
    pub memory: MemoryInfo,
    /// Error against the FP32 model, one entry per output; empty where verification was switched off.
    pub accuracy: Vec<OutputAccuracy>,
    /// What the accuracy was measured on: `synthetic`, or the folder or file of samples, with their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_on: Option<String>,
    /// Limit on scratch memory.
    pub workspace_bytes: u64,
    /// Streams beside the main one that the engine may use.
    #[serde(default)]
    pub auxiliary_streams: u32,
    /// Compute capabilities the engine was restricted to; empty for TensorRT's default.
    pub compute_capabilities: Vec<String>,
    /// Wall time of each step in milliseconds, in the order they ran.
    pub timings_ms: BTreeMap<String, f64>,
    /// The stages that the network was cut into; empty for one engine. The memory above is then that of the stage that takes most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageInfo>,
    /// Digest of everything the build depends on; an equal digest answers a build from what is there.
    pub fingerprint: String,
    /// What every node computes in, in the order of the network; empty where it has more than [`MOST_LISTED_NODES`], and in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<PlannedNode>,
    /// What the activation memory is made of, at the largest shapes; absent in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ActivationAccount>,
}

/// A node and what it computes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedNode {
    /// Node name, or its first output where the node has none.
    pub node: String,
    /// Operator type.
    pub operator: String,
    /// What it computes in.
    pub precision: NodePrecision,
}

impl From<&PrecisionRow> for PlannedNode {
    fn from(row: &PrecisionRow) -> Self {
        PlannedNode { node: row.node.clone(), operator: row.operator.clone(), precision: row.precision }
    }
}

impl PlannedNode {
    /// A node of a network that nothing was decided for.
    pub(crate) fn in_32_bits(graph: &Graph, node: NodeId) -> Self {
        PlannedNode {
            node: node_label(graph, node),
            operator: graph.op_type(node).to_owned(),
            precision: NodePrecision::Fp32,
        }
    }
}

/// Which TensorRT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorRtInfo {
    /// `rtx` or `enterprise`.
    pub flavour: String,
    /// For example `1.7.1`.
    pub version: String,
}

/// The source model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Path as it was given.
    pub path: PathBuf,
    /// SHA-256 of the file and its external data.
    pub sha256: String,
    /// Default-domain operator set version.
    pub opset: i64,
}

/// A file by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// Precision asked for and decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionInfo {
    /// `fp32`, `fp16`, `int8` or `auto`.
    pub requested: String,
    /// Nodes per precision after the passes.
    pub nodes: PrecisionCounts,
    /// Share of the arithmetic of nodes with weights that is done in INT8, from 0 to 1; absent where nothing was quantized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub int8_flops: Option<f64>,
    /// Nodes that stay above the requested precision and why.
    pub kept: Vec<KeptNode>,
}

/// A node that stays in a higher precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptNode {
    /// Node name.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// Memory in bytes, as the compiler reports it for the largest shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryInfo {
    /// Weights on the device.
    pub weights_bytes: u64,
    /// Activation memory of one execution context.
    pub activation_bytes: u64,
    /// Input and output buffers.
    pub io_bytes: u64,
    /// The sum of the three.
    pub total_bytes: u64,
    /// Largest scratch memory of one layer; part of the activation memory.
    #[serde(default)]
    pub scratch_bytes: u64,
    /// The same per batch size, where more than one was looked at.
    #[serde(default)]
    pub by_batch: Vec<BatchMemory>,
}

/// One stage of a network that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageInfo {
    /// Its engine, beside the bundle.
    pub file: String,
    /// SHA-256 of that file in hexadecimal.
    pub sha256: String,
    /// Its weights on the device.
    pub weights_bytes: u64,
    /// Its activation memory.
    pub activation_bytes: u64,
    /// Inputs, outputs and values between stages that are held while it runs, at the largest shapes.
    pub boundary_bytes: u64,
}

/// Memory at one batch size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMemory {
    /// Batch size.
    pub batch: u64,
    /// Activation memory.
    pub activation_bytes: u64,
    /// Input and output buffers.
    pub io_bytes: u64,
    /// Weights, activation and buffers.
    pub total_bytes: u64,
}

impl Manifest {
    /// Where the manifest of an engine lies: the engine's path with `.json` appended.
    pub fn path_for(engine: &Path) -> PathBuf {
        let mut path = engine.as_os_str().to_owned();
        path.push(".json");
        PathBuf::from(path)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Manifest`] where it is not one of ours or of a newer schema.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        Manifest::parse(&bytes).map_err(|reason| Error::Manifest { path: path.to_owned(), reason })
    }

    /// Parses a manifest's bytes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            schema: u32,
        }
        let header: Header =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no engine manifest: {error}"))?;
        if header.schema == 0 || header.schema > SCHEMA {
            return Err(format!("its schema is {}, this version reads up to {SCHEMA}", header.schema));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The manifest as pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest holds only strings, numbers and lists");
        text.push('\n');
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn example() -> Manifest {
        Manifest {
            schema: SCHEMA,
            trtforge: "0.1.0".into(),
            tensorrt: TensorRtInfo { flavour: "rtx".into(), version: "1.7.1".into() },
            model: ModelInfo { path: "m.onnx".into(), sha256: "00".into(), opset: 17 },
            engine: FileInfo { sha256: "11".into(), bytes: 5 },
            precision: PrecisionInfo {
                requested: "fp16".into(),
                nodes: PrecisionCounts { fp32: 1, fp16: 2, int8: 0 },
                int8_flops: None,
                kept: vec![KeptNode { node: "n".into(), reason: "r".into() }],
            },
            calibration: None,
            form: None,
            shapes: BTreeMap::from([("x".into(), ShapeRange::fixed("1x3x8x8".parse().unwrap()))]),
            memory: MemoryInfo {
                weights_bytes: 1,
                activation_bytes: 2,
                io_bytes: 3,
                total_bytes: 6,
                ..MemoryInfo::default()
            },
            accuracy: vec![],
            verified_on: None,
            workspace_bytes: 1 << 29,
            auxiliary_streams: 0,
            compute_capabilities: vec![],
            timings_ms: BTreeMap::from([("read".into(), 1.5)]),
            stages: vec![],
            fingerprint: "22".into(),
            nodes: vec![PlannedNode { node: "n".into(), operator: "Exp".into(), precision: NodePrecision::Fp32 }],
            activation: Some(ActivationAccount::default()),
        }
    }

    #[test]
    fn survives_a_round_trip() {
        assert_eq!(Manifest::parse(example().to_json().as_bytes()).unwrap(), example());
    }

    #[test]
    fn other_documents_are_refused() {
        let reason = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err();
        assert!(reason("{}").contains("no engine manifest"));
        assert!(reason("not json").contains("no engine manifest"));
        assert!(reason("{\"schema\": 99}").contains("reads up to 1"));
        assert!(reason("{\"schema\": 1}").contains("missing field"));
    }

    proptest! {
        #[test]
        fn mutated_manifests_never_panic(position in 0usize..600, byte in any::<u8>()) {
            let mut bytes = example().to_json().into_bytes();
            let index = position % bytes.len();
            bytes[index] = byte;
            let _ = Manifest::parse(&bytes);
            let _ = Manifest::parse(&bytes[..index]);
        }
    }
}
