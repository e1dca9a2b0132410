//! `OUT.engine` of a network that was cut into stages: which files hold them, and what they are to be.
//!
//! The bundle is JSON and holds no weights. Stage files lie beside it; each is mapped once and checked against length and
//! SHA-256, and its mapping is kept, so that a stage that is loaded again comes from the same bytes.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::options::EngineOptions;
use super::plan_file::{self, Contents};
use super::source::Source;
use super::{Declared, Engine, EngineFault, Formats, Profile, ShapeRange, Signature, TensorInfo};
use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::stages::Chain;
#[cfg(any(feature = "onnx", feature = "tensorrt"))]
use crate::stages::Stage;

/// Newest layout that is read here.
const NEWEST: u32 = 1;
/// A bundle holds no weights; what is larger is none.
const MOST_BYTES: usize = 16 << 20;
/// What a bundle starts with, after a brace and white space.
const KEY: &[u8] = br#""trtforge_bundle""#;

/// Whether a file is a bundle, by its first bytes.
pub(crate) fn is_bundle(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"{") else { return false };
    rest.trim_ascii_start().starts_with(KEY)
}

/// A bundle as it was read and checked by itself.
#[derive(Debug)]
#[cfg_attr(not(any(feature = "onnx", feature = "tensorrt")), allow(dead_code))]
pub(crate) struct Bundle {
    inputs: Vec<TensorInfo>,
    outputs: Vec<String>,
    profiles: Vec<Profile>,
    stages: Vec<StageFile>,
}

/// A stage as a bundle tells of it.
#[derive(Debug)]
#[cfg_attr(not(any(feature = "onnx", feature = "tensorrt")), allow(dead_code))]
struct StageFile {
    file: String,
    sha256: String,
    bytes: u64,
    weights_bytes: u64,
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    activation_bytes: u64,
    signature: Signature,
    /// Orders of elements in memory of tensors between stages, where they are not row-major.
    #[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
    formats: Formats,
}

#[derive(Deserialize)]
struct Header {
    trtforge_bundle: u32,
}

#[derive(Deserialize)]
struct Written {
    inputs: Vec<WrittenTensor>,
    outputs: Vec<WrittenTensor>,
    stages: Vec<WrittenStage>,
}

#[derive(Deserialize)]
struct WrittenTensor {
    name: String,
    element: String,
    dimensions: Vec<WrittenDimension>,
    format: Option<String>,
    min: Option<Vec<u64>>,
    max: Option<Vec<u64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenDimension {
    Fixed(u64),
    Open(String),
}

#[derive(Deserialize)]
struct WrittenStage {
    file: String,
    sha256: String,
    bytes: u64,
    weights_bytes: u64,
    activation_bytes: u64,
    inputs: Vec<WrittenTensor>,
    outputs: Vec<WrittenTensor>,
}

impl Bundle {
    /// Reads one.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, EngineFault> {
        if text.len() > MOST_BYTES {
            return Err(malformed(format!("it has {} bytes, and no bundle has more than {MOST_BYTES}", text.len())));
        }
        let unreadable = |error: serde_json::Error| malformed(error.to_string());
        let found = serde_json::from_slice::<Header>(text).map_err(unreadable)?.trtforge_bundle;
        if found == 0 || found > NEWEST {
            return Err(EngineFault::BundleVersion { found, newest: NEWEST });
        }
        let written: Written = serde_json::from_slice(text).map_err(unreadable)?;
        if written.stages.is_empty() {
            return Err(EngineFault::NoStages);
        }
        check_formats(&written)?;
        let inputs = tensors(&written.inputs)?;
        Ok(Self {
            profiles: profile(&written.inputs, &inputs)?.into_iter().collect(),
            inputs,
            outputs: tensors(&written.outputs)?.into_iter().map(|output| output.name).collect(),
            stages: written.stages.into_iter().map(StageFile::read).collect::<Result<_, _>>()?,
        })
    }

    /// How the stages fit together; names of the inputs' dimensions are those of the stages that read them.
    fn chain(&self) -> Result<Chain, EngineFault> {
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let inputs: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        let stages = self.stages.iter().map(|stage| (stage.file.as_str(), &stage.signature));
        let chain = Chain::new(stages, &outputs)?.with_inputs(&inputs)?;
        for (whole, read) in self.inputs.iter().zip(&chain.signature().inputs) {
            if whole != read {
                let (stage, name) = ("of the whole".to_owned(), whole.name.clone());
                let (expected, actual) = (read.to_string(), whole.to_string());
                return Err(EngineFault::StageDisagrees { stage, name, expected, actual });
            }
        }
        Ok(chain)
    }
}

impl StageFile {
    fn read(stage: WrittenStage) -> Result<Self, EngineFault> {
        if !is_plain(&stage.file) {
            return Err(malformed(format!("{:?} is no plain file name", stage.file)));
        }
        let (inputs, outputs) = (tensors(&stage.inputs)?, tensors(&stage.outputs)?);
        let written = stage.inputs.into_iter().chain(stage.outputs);
        let formats = written.filter_map(|tensor| Some((tensor.name, tensor.format?))).collect();
        Ok(Self {
            file: stage.file,
            sha256: stage.sha256,
            bytes: stage.bytes,
            weights_bytes: stage.weights_bytes,
            activation_bytes: stage.activation_bytes,
            signature: Signature { inputs, outputs, profiles: Vec::new() },
            formats,
        })
    }

    /// Maps the file, if it is there and is what it was.
    fn map(&self, number: usize, folder: &Path) -> Result<Arc<Source>, StageFileError> {
        let path = folder.join(&self.file);
        let stage = number + 1;
        let source = Source::map(&path).map_err(|error| match error {
            Error::Io { source, path, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                StageFileError::Fault(EngineFault::StageMissing { stage, path })
            }
            other => StageFileError::Other(other),
        })?;
        let (actual_bytes, expected_bytes) = (source.len() as u64, self.bytes);
        if actual_bytes < expected_bytes {
            return Err(EngineFault::StageTruncated { stage, path, actual_bytes, expected_bytes }.into());
        }
        let actual = hex::encode(Sha256::digest(&source[..]));
        if !actual.eq_ignore_ascii_case(&self.sha256) {
            return Err(EngineFault::StageAltered { stage, path, expected: self.sha256.clone(), actual }.into());
        }
        Ok(Arc::new(source))
    }
}

/// Why the file of a stage cannot be taken.
enum StageFileError {
    Fault(EngineFault),
    Other(Error),
}

impl From<EngineFault> for StageFileError {
    fn from(fault: EngineFault) -> Self {
        Self::Fault(fault)
    }
}

/// Opens a bundle that lies in the folder of `path`; one in memory has no files beside it.
pub(crate) fn open(
    options: &EngineOptions,
    source: &Source,
    name: &str,
    path: Option<&Path>,
    manifest: Option<&Manifest>,
) -> Result<Engine> {
    let unfit = |fault| Error::Unfit { source_name: source.name.clone(), fault: Box::new(fault) };
    let bundle = Bundle::parse(source).map_err(unfit)?;
    let beside = || malformed("it is opened from its file, beside which the files of its stages lie".to_owned());
    let folder = folder_of(path.ok_or_else(|| unfit(beside()))?);
    let mapped = bundle.stages.iter().enumerate().map(|(number, stage)| {
        stage.map(number, &folder).map_err(|error| match error {
            StageFileError::Fault(fault) => unfit(fault),
            StageFileError::Other(error) => error,
        })
    });
    let files = mapped.collect::<Result<Vec<_>>>()?;
    let chain = bundle.chain().map_err(unfit)?;
    let opened = Opened { options, name, folder, bundle: &bundle, files };
    match opened.starts().map_err(unfit)? {
        Some(starts) => opened.on_gpu(chain, &starts, manifest),
        None => opened.on_host(chain),
    }
}

/// A bundle whose files are mapped.
#[cfg_attr(not(any(feature = "onnx", feature = "tensorrt")), allow(dead_code))]
struct Opened<'o> {
    options: &'o EngineOptions,
    name: &'o str,
    #[cfg_attr(not(feature = "onnx"), allow(dead_code))]
    folder: PathBuf,
    bundle: &'o Bundle,
    files: Vec<Arc<Source>>,
}

impl Opened<'_> {
    /// Where the plan begins in each file; nothing where all are ONNX models.
    fn starts(&self) -> Result<Option<Vec<usize>>, EngineFault> {
        let mut starts = Vec::new();
        for (stage, file) in self.bundle.stages.iter().zip(&self.files) {
            let fault = |reason| EngineFault::StageKind { stage: stage.file.clone(), reason };
            match plan_file::contents(file)? {
                Contents::Plan { start } => starts.push(start),
                Contents::Onnx => {}
                Contents::Bundle => return Err(fault("it is cut into stages itself")),
            }
        }
        match starts.len() {
            0 => Ok(None),
            plans if plans == self.files.len() => Ok(Some(starts)),
            _ => {
                let stage = self.bundle.stages.first().map(|stage| stage.file.clone()).unwrap_or_default();
                Err(EngineFault::StageKind { stage, reason: "some are TensorRT engines, and some are ONNX models" })
            }
        }
    }

    #[cfg(feature = "onnx")]
    fn on_host(&self, chain: Chain) -> Result<Engine> {
        let stages = self.bundle.stages.iter().zip(&self.files).map(|(stage, file)| {
            let (file, folder) = (Arc::clone(file), self.folder.clone());
            let load = move |options: &EngineOptions| {
                let name = options.name.clone().unwrap_or_default();
                super::onnx::load(options, &file.name, file.shared(), &name, Some(&folder))
            };
            // Activations lie in memory of ONNX Runtime, which no ledger sees.
            Stage::new(&stage.file, stage.signature.clone(), load).with_memory(stage.weights_bytes, 0)
        });
        let profiles = self.bundle.profiles.clone();
        crate::stages::staged_on_host(self.options, self.name, chain, stages.collect(), profiles)
    }

    #[cfg(not(feature = "onnx"))]
    fn on_host(&self, _: Chain) -> Result<Engine> {
        Err(Error::FeatureOff { what: "an ONNX model", feature: "onnx" })
    }

    #[cfg(feature = "tensorrt")]
    fn on_gpu(&self, chain: Chain, starts: &[usize], manifest: Option<&Manifest>) -> Result<Engine> {
        let manifest = |stage: &StageFile| manifest.map(|manifest| manifest.of_stage(stage.weights_bytes));
        let stages = self.bundle.stages.iter().zip(&self.files).zip(starts).map(|((stage, file), &start)| {
            let (file, manifest, formats) = (Arc::clone(file), manifest(stage), stage.formats.clone());
            let load = move |options: &EngineOptions| {
                let name = options.name.clone().unwrap_or_default();
                super::tensorrt::load(options, &file.name, &file[start..], &name, manifest.as_ref(), &formats)
            };
            Stage::new(&stage.file, stage.signature.clone(), load)
                .with_memory(stage.weights_bytes, stage.activation_bytes)
        });
        let stages: Vec<Stage> = stages.collect();
        let mut gpu = None;
        for ((stage, file), &start) in self.bundle.stages.iter().zip(&self.files).zip(starts) {
            let manifest = manifest(stage);
            gpu = Some(super::tensorrt::prepare(self.options, &file.name, &file[start..], manifest.as_ref())?.gpu);
        }
        let none = || Error::Unfit { source_name: self.name.to_owned(), fault: Box::new(EngineFault::NoStages) };
        let gpu = gpu.ok_or_else(none)?;
        crate::stages::staged_on_gpu(self.options, gpu, self.name, chain, stages, self.bundle.profiles.clone())
    }

    #[cfg(not(feature = "tensorrt"))]
    fn on_gpu(&self, _: Chain, _: &[usize], _: Option<&Manifest>) -> Result<Engine> {
        Err(Error::FeatureOff { what: "a TensorRT engine", feature: "tensorrt" })
    }
}

/// What goes in and comes out of the whole is in row-major order; what one stage makes in another order the others read in it.
fn check_formats(written: &Written) -> Result<(), EngineFault> {
    let ends = written.inputs.iter().chain(&written.outputs);
    let mut expected: HashMap<&str, Option<&str>> = ends.map(|end| (end.name.as_str(), None)).collect();
    for stage in &written.stages {
        for tensor in stage.inputs.iter().chain(&stage.outputs) {
            let format = tensor.format.as_deref();
            if *expected.entry(&tensor.name).or_insert(format) != format {
                let (stage, name) = (stage.file.clone(), tensor.name.clone());
                let reason = "its elements lie in memory in another order elsewhere";
                return Err(EngineFault::StageTensor { stage, name, reason });
            }
        }
    }
    Ok(())
}

fn malformed(reason: String) -> EngineFault {
    EngineFault::Bundle { reason }
}

/// A name without folders, on any system.
fn is_plain(file: &str) -> bool {
    let mut components = Path::new(file).components();
    let plain = matches!(components.next(), Some(Component::Normal(name)) if name == file);
    plain && components.next().is_none() && !file.contains(['/', '\\', '\0'])
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

fn tensors(written: &[WrittenTensor]) -> Result<Vec<TensorInfo>, EngineFault> {
    written.iter().map(tensor).collect()
}

fn tensor(written: &WrittenTensor) -> Result<TensorInfo, EngineFault> {
    let WrittenTensor { name, element, dimensions, .. } = written;
    let fault = |reason: String| EngineFault::Tensor { name: name.clone(), reason };
    let element = element_named(element).ok_or_else(|| fault(format!("sessions hold no {element:?}")))?;
    if dimensions.len() > crate::MAX_RANK {
        let (rank, most) = (dimensions.len(), crate::MAX_RANK);
        return Err(fault(format!("it has {rank} dimensions, and sessions hold at most {most}")));
    }
    let declared = |dimension: &WrittenDimension| match dimension {
        WrittenDimension::Fixed(size) => Declared::Fixed(*size),
        WrittenDimension::Open(name) => Declared::Open(name.clone()),
    };
    let dimensions = Some(dimensions.iter().map(declared).collect());
    Ok(TensorInfo { name: name.clone(), element, dimensions })
}

fn element_named(name: &str) -> Option<ElementType> {
    Some(match name {
        "float32" => ElementType::Float32,
        "float16" => ElementType::Float16,
        "int8" => ElementType::Int8,
        "uint8" => ElementType::UInt8,
        "int32" => ElementType::Int32,
        "int64" => ElementType::Int64,
        "bool" => ElementType::Bool,
        _ => return None,
    })
}

/// Ranges of all inputs; nothing where none has one, which stands for whatever the dimensions allow.
fn profile(written: &[WrittenTensor], inputs: &[TensorInfo]) -> Result<Option<Profile>, EngineFault> {
    if written.iter().all(|input| input.min.is_none() && input.max.is_none()) {
        return Ok(None);
    }
    let ranges = written.iter().zip(inputs).map(|(written, input)| range(written, input));
    Ok(Some(Profile { inputs: ranges.collect::<Result<_, _>>()? }))
}

fn range(written: &WrittenTensor, input: &TensorInfo) -> Result<ShapeRange, EngineFault> {
    let fault = |reason: &str| EngineFault::Tensor { name: input.name.clone(), reason: reason.to_owned() };
    let range = match (&written.min, &written.max) {
        (Some(min), Some(max)) => Shape::new(min).zip(Shape::new(max)).map(|(min, max)| ShapeRange { min, max }),
        (None, None) => input.fixed_shape().map(|shape| ShapeRange { min: shape, max: shape }),
        _ => return Err(fault("it has a smallest or a largest shape, and not both")),
    };
    let range = range.ok_or_else(|| fault("it is open, and other inputs have ranges and it has none"))?;
    let dimensions = input.dimensions.as_deref().unwrap_or_default();
    let fits = |((dimension, &min), &max): ((&Declared, &u64), &u64)| match dimension {
        Declared::Fixed(size) => min == *size && max == *size,
        Declared::Open(_) => min <= max,
    };
    let same_rank = range.min.len() == dimensions.len() && range.max.len() == dimensions.len();
    if same_rank && dimensions.iter().zip(range.min.iter()).zip(range.max.iter()).all(fits) {
        return Ok(range);
    }
    Err(fault("its smallest and largest shapes do not fit its dimensions"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn bundle() -> Value {
        json!({
            "trtforge_bundle": 1,
            "inputs": [{"name": "images", "element": "float32", "dimensions": ["batch", 3], "min": [1, 3], "max": [8, 3]}],
            "outputs": [{"name": "scores", "element": "float16", "dimensions": ["batch", 80]}],
            "stages": [{
                "file": "a.stage1-00.engine", "sha256": "00", "bytes": 3, "weights_bytes": 1, "activation_bytes": 2,
                "boundary_bytes": 3,
                "inputs": [{"name": "images", "element": "float32", "dimensions": ["batch", 3]}],
                "outputs": [{"name": "scores", "element": "float16", "dimensions": ["batch", 80]}],
            }],
        })
    }

    fn parse(value: &Value) -> Result<Bundle, EngineFault> {
        Bundle::parse(value.to_string().as_bytes())
    }

    fn changed(pointer: &str, to: Value) -> Value {
        let mut bundle = bundle();
        *bundle.pointer_mut(pointer).unwrap() = to;
        bundle
    }

    #[test]
    fn what_one_stage_makes_in_an_order_the_others_read_in_it() {
        let between = |format: &str| json!({"name": "x", "element": "int8", "dimensions": [1], "format": format});
        let of = |made: &str, read: &str| {
            let mut bundle = bundle();
            let mut second = bundle["stages"][0].clone();
            bundle["stages"][0]["outputs"] = json!([between(made)]);
            (second["inputs"], second["file"]) = (json!([between(read)]), json!("b.engine"));
            bundle["stages"].as_array_mut().unwrap().push(second);
            parse(&bundle)
        };
        let read = of("hwc16", "hwc16").unwrap();
        assert_eq!(read.stages[1].formats, Formats::from([("x".to_owned(), "hwc16".to_owned())]));
        let fault = of("hwc16", "linear").unwrap_err();
        assert!(matches!(&fault, EngineFault::StageTensor { stage, name, .. } if stage == "b.engine" && name == "x"));
        let end = json!([{"name": "scores", "element": "float16", "dimensions": ["batch", 80], "format": "hwc"}]);
        let end = parse(&changed("/stages/0/outputs", end)).unwrap_err();
        assert!(matches!(&end, EngineFault::StageTensor { name, .. } if name == "scores"), "{end}");
    }

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        let read = parse(&bundle()).unwrap();
        assert_eq!(read.inputs, [TensorInfo::batched("images", ElementType::Float32, &[3])]);
        assert_eq!(read.profiles[0].inputs[0].to_string(), "1x3 to 8x3");
        assert_eq!((read.outputs.as_slice(), read.stages.len()), (&["scores".to_owned()][..], 1));
        assert_eq!((read.stages[0].weights_bytes, read.stages[0].activation_bytes), (1, 2));
        assert!(is_bundle(b"{\"trtforge_bundle\": 1}") && is_bundle(b"{\n  \"trtforge_bundle\": 1"));
        assert!(!is_bundle(b"{\"schema\": 1}") && !is_bundle(b"vtrt") && !is_bundle(b""));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for name in ["", ".", "..", "/etc/passwd", "a/b", "../a", "a\\b", "./a", "a/"] {
            let fault = parse(&changed("/stages/0/file", json!(name))).unwrap_err();
            assert!(matches!(fault, EngineFault::Bundle { .. }), "{name:?}: {fault}");
        }
        for (pointer, to) in [
            ("/inputs/0/element", json!("float8")),
            ("/inputs/0/dimensions", json!([1, 1, 1, 1, 1, 1, 1, 1, 1])),
            ("/inputs/0/min", json!([9, 3])),
            ("/inputs/0/min", json!([1, 2])),
            ("/inputs/0/max", json!([1])),
            ("/inputs/0/max", json!(null)),
        ] {
            let fault = parse(&changed(pointer, to)).unwrap_err();
            assert!(matches!(&fault, EngineFault::Tensor { name, .. } if name == "images"), "{pointer}: {fault}");
        }
        let newer = parse(&changed("/trtforge_bundle", json!(2))).unwrap_err();
        assert!(matches!(newer, EngineFault::BundleVersion { found: 2, newest: NEWEST }));
        assert!(matches!(Bundle::parse(b"{\"trtforge_bundle\": 1}"), Err(EngineFault::Bundle { .. })));
        assert!(matches!(Bundle::parse(&vec![b' '; MOST_BYTES + 1]), Err(EngineFault::Bundle { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_and_no_damage_make_it_panic(
            at in 0..2000usize, to in any::<u8>(), length in 0..2000usize, any in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Bundle::parse(&any);
            let mut text = bundle().to_string().into_bytes();
            let place = at % text.len();
            text[place] = to;
            let _ = Bundle::parse(&text);
            text.truncate(length);
            let _ = Bundle::parse(&text);
        }
    }
}
