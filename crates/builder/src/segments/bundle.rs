//! The bundle of a network in stages: a small JSON file that names an engine or a model per stage, and those beside it.
//!
//! Names of stage files carry their digest, so a new bundle never touches the files of the one it replaces: until the bundle
//! itself is renamed the old one is whole.

use super::{CompiledStage, Divisible, Segment, SegmentTensor};
use crate::manifest::{FileInfo, StageInfo};
use crate::output::StagedFile;
use crate::{Error, Result, digest};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use trtforge_graph::Dimension;
use trtforge_graph::segmentation::SegmentMemory;
use trtforge_tensorrt::TensorFormat;

/// The layout that is written.
const VERSION: u32 = 1;
/// Hexadecimal digits of its digest in a stage file's name.
const NAME_DIGITS: usize = 12;

#[derive(Serialize)]
struct Bundle {
    trtforge_bundle: u32,
    inputs: Vec<Input>,
    outputs: Vec<Tensor>,
    stages: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    file: String,
    sha256: String,
    bytes: u64,
    weights_bytes: u64,
    activation_bytes: u64,
    boundary_bytes: u64,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    element: String,
    dimensions: Vec<Size>,
    /// The order of its elements in memory, where that is not row-major.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
}

#[derive(Serialize)]
struct Input {
    #[serde(flatten)]
    tensor: Tensor,
    min: Vec<u64>,
    max: Vec<u64>,
}

/// A size, or the name of one that is open.
#[derive(Serialize)]
#[serde(untagged)]
enum Size {
    Fixed(u64),
    Open(String),
}

/// A bundle written under temporary names.
pub(crate) struct StagedBundle {
    bundle: StagedFile,
    files: Vec<StagedFile>,
    /// The bundle file itself.
    pub(crate) info: FileInfo,
    /// Its stages, as the manifest has them.
    pub(crate) stages: Vec<StageInfo>,
    /// Stage files of the bundle that this one replaces, and that it does not have.
    superseded: Vec<PathBuf>,
}

impl StagedBundle {
    /// Writes everything beside `output`.
    pub(crate) fn write<'s>(
        output: &Path,
        network: &Divisible,
        stages: impl IntoIterator<Item = Result<StageContent<'s>>>,
    ) -> Result<Self> {
        let (mut files, mut entries) = (Vec::new(), Vec::new());
        for (number, stage) in (1..).zip(stages) {
            let (file, entry) = write_stage(output, number, &stage?)?;
            files.push(file);
            entries.push(entry);
        }
        let ends = |tensors: &[SegmentTensor]| tensors.iter().map(tensor).collect();
        let stages = entries.iter().map(stage_info).collect();
        let bundle = Bundle {
            trtforge_bundle: VERSION,
            inputs: network.inputs().iter().map(|input| described(network, input)).collect(),
            outputs: ends(&network.outputs()),
            stages: entries,
        };
        let text = serde_json::to_vec(&bundle).expect("a bundle holds only strings, numbers and lists");
        let info = FileInfo { sha256: digest::of_bytes(&text), bytes: text.len() as u64 };
        let kept: Vec<&Path> = files.iter().map(StagedFile::target).collect();
        let superseded = stage_files(output).into_iter().filter(|file| !kept.contains(&file.as_path())).collect();
        Ok(Self { bundle: StagedFile::write(output, &text)?, files, info, stages, superseded })
    }

    /// Puts all files in their places, the bundle last; then stage files that nothing names any more go.
    pub(crate) fn commit(self) -> Result<()> {
        self.files.into_iter().try_for_each(StagedFile::commit)?;
        self.bundle.commit()?;
        remove(&self.superseded);
        Ok(())
    }
}

/// What the file of a stage holds, and what is said of it.
pub(crate) struct StageContent<'s> {
    segment: &'s Segment,
    memory: SegmentMemory,
    bytes: Box<dyn AsRef<[u8]> + 's>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Engine,
    Model,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Model => "onnx",
        }
    }

    /// A tensor as the bundle tells of it. Those of a model lie in row-major order.
    fn tensor(self, tensor: &SegmentTensor) -> Tensor {
        let is_told = self == Self::Engine && tensor.format != TensorFormat::Linear;
        Tensor { format: is_told.then(|| tensor.format.to_string()), ..self::tensor(tensor) }
    }
}

impl<'s> StageContent<'s> {
    /// Its engine.
    pub(crate) fn engine(stage: &'s CompiledStage) -> Self {
        let bytes: &[u8] = &stage.compiled.engine;
        Self { segment: &stage.segment, memory: stage.memory, bytes: Box::new(bytes), kind: Kind::Engine }
    }

    /// The model that its engine is made of, for ONNX Runtime, which holds the weights as they are in the file.
    pub(crate) fn model(segment: &'s Segment) -> Result<Self> {
        let bytes = segment.model.to_bytes().map_err(Error::pass("stages"))?;
        let memory = SegmentMemory { weights_bytes: segment.model.weights_bytes(), ..segment.estimate };
        Ok(Self { segment, memory, bytes: Box::new(bytes), kind: Kind::Model })
    }
}

fn write_stage(output: &Path, number: usize, stage: &StageContent<'_>) -> Result<(StagedFile, Entry)> {
    let bytes = (*stage.bytes).as_ref();
    let sha256 = digest::of_bytes(bytes);
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let file = format!("{stem}.stage{number}-{}.{}", &sha256[..NAME_DIGITS], stage.kind.extension());
    let staged = StagedFile::write(&output.with_file_name(&file), bytes)?;
    let tensors = |tensors: &[SegmentTensor]| tensors.iter().map(|tensor| stage.kind.tensor(tensor)).collect();
    let entry = Entry {
        file,
        sha256,
        bytes: bytes.len() as u64,
        weights_bytes: stage.memory.weights_bytes,
        activation_bytes: stage.memory.activation_bytes,
        boundary_bytes: stage.memory.boundary_bytes,
        inputs: tensors(&stage.segment.inputs),
        outputs: tensors(&stage.segment.outputs),
    };
    Ok((staged, entry))
}

fn stage_info(entry: &Entry) -> StageInfo {
    StageInfo {
        file: entry.file.clone(),
        sha256: entry.sha256.clone(),
        weights_bytes: entry.weights_bytes,
        activation_bytes: entry.activation_bytes,
        boundary_bytes: entry.boundary_bytes,
    }
}

fn tensor(tensor: &SegmentTensor) -> Tensor {
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Size::Fixed(*size),
        Dimension::Symbol(name) => Size::Open(name.clone()),
        Dimension::Unknown => Size::Open(String::new()),
    };
    let dimensions = tensor.ty.shape.iter().flatten().map(size).collect();
    Tensor { name: tensor.name.clone(), element: tensor.ty.element.to_string(), dimensions, format: None }
}

fn described(network: &Divisible, input: &SegmentTensor) -> Input {
    let range = network.shapes().ranges.get(&input.name);
    let of = |shape: Option<&crate::shapes::Shape>| shape.map(|shape| shape.0.clone()).unwrap_or_default();
    Input { tensor: tensor(input), min: of(range.map(|range| &range.min)), max: of(range.map(|range| &range.max)) }
}

/// The stage files that the bundle at `path` names, where there is one.
pub(crate) fn stage_files(path: &Path) -> Vec<PathBuf> {
    #[derive(Deserialize)]
    struct Named {
        stages: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        file: String,
    }
    let is_plain = |file: &File| Path::new(&file.file).file_name().is_some_and(|name| name == file.file.as_str());
    let read = || -> Option<Named> {
        let mut start = [0; 64];
        let read = std::io::Read::read(&mut std::fs::File::open(path).ok()?, &mut start).ok()?;
        let is_bundle = String::from_utf8_lossy(&start[..read]).contains("\"trtforge_bundle\"");
        if is_bundle { serde_json::from_slice(&std::fs::read(path).ok()?).ok() } else { None }
    };
    let stages = read().map(|named| named.stages).unwrap_or_default();
    stages.iter().filter(|file| is_plain(file)).map(|file| path.with_file_name(&file.file)).collect()
}

/// Removes files that nothing names any more. What cannot be removed stays, to no harm.
pub(crate) fn remove(files: &[PathBuf]) {
    files.iter().for_each(|file| drop(std::fs::remove_file(file)));
}

/// Whether every stage file of a manifest is there and as it says.
pub(crate) fn stand(output: &Path, stages: &[StageInfo]) -> bool {
    let stands = |stage: &StageInfo| {
        digest::of_file(&output.with_file_name(&stage.file)).is_ok_and(|sha256| sha256 == stage.sha256)
    };
    stages.iter().all(stands)
}
