//! Hands a model to ONNX Runtime without copying its weights through protobuf.
//!
//! The big weights go into one data file in a private folder, aligned; the model refers to them, and ONNX Runtime maps
//! them. Measured with 1.32 on 65 MB of weights: a session takes 6 ms and no private memory this way, 100 ms and the
//! weights once more as one protobuf message; and a model that it saves still refers to what it did not change, so that
//! nothing is written back. Its in-memory interface cannot serve: what it is given that way it writes out on saving.
//!
//! The folder exists while ONNX Runtime opens the model; what it has mapped stays valid afterwards. It must be gone on
//! every path, and the model itself is never changed.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use trtforge_graph::construct::entry;
use trtforge_graph::proto::tensor_proto::DataLocation;
use trtforge_graph::proto::{GraphProto, ModelProto, TensorProto};
use trtforge_graph::protobuf::Message;
use trtforge_graph::{Bytes, ElementType, Tensor};

use crate::error::{Error, Result};

/// Name of the data file, and the location that the staged model gives.
pub(crate) const WEIGHTS: &str = "weights";
/// Weights from this size on go into the data file.
const MIN_BYTES: usize = 4096;
/// Integers may decide shapes, which ONNX Runtime infers from tensors that the model itself holds.
const MIN_INTEGER_BYTES: usize = 1 << 20;
/// Start of each tensor: the width of a cache line, and more than any vector register asks for.
const ALIGNMENT: u64 = 64;

/// What the data file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// The weights.
    Data,
    /// Nothing: a file of the right size made of one hole, for when only types matter.
    Hole,
}

/// A model ready for ONNX Runtime.
pub(crate) struct Staged {
    folder: TempDir,
    /// The encoded model.
    pub(crate) bytes: Vec<u8>,
    /// Initializers in the data file, by offset there: their index in the model's initializer list.
    placed: HashMap<u64, usize>,
}

impl Staged {
    /// Stages `proto`, which is used up; its initializers must be those of the model it was made from, in that order.
    pub(crate) fn new(mut proto: ModelProto, contents: Contents) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("trtforge-").tempdir();
        let folder = folder.map_err(|source| temporary("create", &std::env::temp_dir(), source))?;
        let mut weights = WeightsFile::create(folder.path().join(WEIGHTS), contents)?;
        for (index, tensor) in proto.graph.mut_or_insert_default().initializer.iter_mut().enumerate() {
            weights.take(index, tensor)?;
        }
        let placed = weights.finish()?;
        let bytes = proto.write_to_bytes().map_err(|source| Error::Exchange { source })?;
        Ok(Self { folder, bytes, placed })
    }

    /// The folder, which ONNX Runtime must be told.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where ONNX Runtime can save a model for [`Staged::saved`].
    pub(crate) fn saved_path(&self) -> PathBuf {
        self.folder.path().join("saved.onnx")
    }

    /// The model that ONNX Runtime saved.
    pub(crate) fn saved(&self) -> Result<ModelProto> {
        let path = self.saved_path();
        let bytes = std::fs::read(&path).map_err(|source| temporary("read", &path, source))?;
        let bytes = Bytes::from(bytes);
        ModelProto::parse_from_tokio_bytes(&bytes).map_err(|source| Error::Exchange { source })
    }

    /// Index of the initializer that `tensor` of the saved model stands for, if it still refers to the data file.
    pub(crate) fn placed(&self, tensor: &TensorProto) -> Option<usize> {
        let find = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
        if find("location") != Some(WEIGHTS) {
            return None;
        }
        let offset = find("offset").unwrap_or("0").parse().ok()?;
        self.placed.get(&offset).copied()
    }
}

struct WeightsFile {
    file: File,
    path: PathBuf,
    contents: Contents,
    end: u64,
    placed: HashMap<u64, usize>,
}

impl WeightsFile {
    fn create(path: PathBuf, contents: Contents) -> Result<Self> {
        let file = File::create_new(&path).map_err(|source| temporary("create", &path, source))?;
        Ok(Self { file, path, contents, end: 0, placed: HashMap::new() })
    }

    /// Moves the data of `tensor`, which is initializer `index`, into the file if it is big.
    fn take(&mut self, index: usize, tensor: &mut TensorProto) -> Result<()> {
        let integer = matches!(ElementType::from_onnx(tensor.data_type()), ElementType::Int64 | ElementType::Int32);
        let threshold = if integer { MIN_INTEGER_BYTES } else { MIN_BYTES };
        if stored_bytes(tensor) < threshold {
            return Ok(());
        }
        let Some(data) = dense_data(tensor) else { return Ok(()) };
        let offset = self.end.next_multiple_of(ALIGNMENT);
        if self.contents == Contents::Data {
            let written = self.file.write_all_at(&data, offset);
            written.map_err(|source| temporary("write", &self.path, source))?;
        }
        self.end = offset + data.len() as u64;
        self.placed.insert(offset, index);
        refer(tensor, offset, data.len());
        Ok(())
    }

    fn finish(self) -> Result<HashMap<u64, usize>> {
        self.file.set_len(self.end).map_err(|source| temporary("write", &self.path, source))?;
        Ok(self.placed)
    }
}

/// Replaces the data of `tensor` by its place in the data file.
fn refer(tensor: &mut TensorProto, offset: u64, length: usize) {
    let (name, dims, data_type) = (tensor.name.take(), std::mem::take(&mut tensor.dims), tensor.data_type);
    let place = [("location", WEIGHTS.to_owned()), ("offset", offset.to_string()), ("length", length.to_string())];
    *tensor = TensorProto {
        name,
        dims,
        data_type,
        data_location: Some(DataLocation::EXTERNAL.into()),
        external_data: place.iter().map(|(key, value)| entry(key, value)).collect(),
        ..Default::default()
    };
}

/// The data of `tensor` as a data file holds it; nothing for strings, or if the data does not fit the dimensions.
fn dense_data(tensor: &TensorProto) -> Option<Bytes> {
    let raw = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty());
    let Some(raw) = raw else { return Tensor::from_proto(tensor).ok().map(|dense| dense.data) };
    let sizes = tensor.dims.iter().map(|&size| u64::try_from(size).ok());
    let count = sizes.into_iter().try_fold(1u64, |count, size| count.checked_mul(size?))?;
    let expected = ElementType::from_onnx(tensor.data_type()).bytes_for(count)?;
    (expected == raw.len() as u64).then(|| raw.clone())
}

fn stored_bytes(tensor: &TensorProto) -> usize {
    let raw = tensor.raw_data.as_ref().map_or(0, |raw| raw.len());
    let four = tensor.float_data.len() + tensor.int32_data.len();
    let eight = tensor.int64_data.len() + tensor.double_data.len() + tensor.uint64_data.len();
    raw + 4 * four + 8 * eight
}

fn temporary(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Temporary { action, path: path.to_owned(), source }
}

/// Makes every initializer a constant: one that is also a graph input, as older exporters write it, loses that input.
/// ONNX Runtime would treat such a weight as unknown and fold nothing; TensorRT takes it as a constant too.
pub(crate) fn settle_initializers(proto: &mut ModelProto) {
    let Some(graph) = proto.graph.as_mut() else { return };
    let before = graph.input.len();
    let constant: std::collections::HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name()).collect();
    let keep: Vec<bool> = graph.input.iter().map(|input| !constant.contains(input.name())).collect();
    retain(&mut graph.input, &keep);
    if graph.input.len() < before {
        proto.ir_version = Some(proto.ir_version().max(FIRST_WITHOUT_INITIALIZER_INPUTS));
    }
}

/// IR version from which initializers need not be graph inputs.
const FIRST_WITHOUT_INITIALIZER_INPUTS: i64 = 4;

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    list.retain(|_| keep.next().copied().unwrap_or(true));
}

/// Asks for the type of every value that a node of `graph` makes: ONNX Runtime fills in an entry that has only a name.
/// Types that the model carries are left out, since they may be stale; ONNX Runtime would merge them in.
pub(crate) fn ask_for_types(graph: &mut GraphProto) {
    let outputs: std::collections::HashSet<&str> = graph.output.iter().map(|output| output.name()).collect();
    let made = graph.node.iter().flat_map(|node| &node.output);
    let wanted = made.filter(|name| !name.is_empty() && !outputs.contains(name.as_str()));
    graph.value_info = wanted
        .map(|name| trtforge_graph::proto::ValueInfoProto { name: Some(name.clone()), ..Default::default() })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use trtforge_graph::proto::ValueInfoProto;

    fn tensor(name: &str, count: usize) -> TensorProto {
        Tensor::from_vec(vec![count as u64], vec![1.5f32; count]).unwrap().to_proto(name)
    }

    fn model(initializer: Vec<TensorProto>) -> ModelProto {
        let graph = GraphProto { initializer, ..Default::default() };
        ModelProto { graph: Some(graph).into(), ir_version: Some(3), ..Default::default() }
    }

    #[test]
    fn big_weights_move_and_small_ones_stay() {
        let staged =
            Staged::new(model(vec![tensor("a", 3), tensor("b", 5000), tensor("c", 5001)]), Contents::Data).unwrap();
        let back = ModelProto::parse_from_tokio_bytes(&Bytes::from(staged.bytes.clone())).unwrap();
        let found: Vec<_> = back.graph.initializer.iter().map(|tensor| staged.placed(tensor)).collect();
        assert_eq!(found, [None, Some(1), Some(2)]);
        let file = std::fs::read(staged.folder().join(WEIGHTS)).unwrap();
        assert_eq!(file.len(), 20_000_usize.next_multiple_of(64) + 5001 * 4);
        assert!(staged.bytes.len() < 1000);
    }

    #[test]
    fn a_hole_has_the_size_but_no_blocks() {
        use std::os::unix::fs::MetadataExt;
        let staged = Staged::new(model(vec![tensor("b", 500_000)]), Contents::Hole).unwrap();
        let data = std::fs::metadata(staged.folder().join(WEIGHTS)).unwrap();
        assert_eq!((data.len(), data.blocks()), (2_000_000, 0));
    }

    #[test]
    fn the_folder_goes_with_the_staging() {
        let staged = Staged::new(model(vec![tensor("b", 5000)]), Contents::Data).unwrap();
        let folder = staged.folder().to_owned();
        drop(staged);
        assert!(!folder.exists());
    }

    #[test]
    fn weights_that_are_inputs_become_constants() {
        let mut proto = model(vec![tensor("w", 3)]);
        for name in ["x", "w"] {
            let input = ValueInfoProto { name: Some(name.into()), ..Default::default() };
            proto.graph.mut_or_insert_default().input.push(input);
        }
        settle_initializers(&mut proto);
        assert_eq!(proto.graph.input.iter().map(|input| input.name()).collect::<Vec<_>>(), ["x"]);
        assert_eq!(proto.ir_version, Some(4));
    }
}
