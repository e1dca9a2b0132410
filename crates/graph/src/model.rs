//! A whole ONNX model and where it came from.
//!
//! Reading maps the file and points into it; nothing here may copy weights. What this crate does not know of the
//! format is carried along as unknown fields.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protobuf::Message;

use crate::error::{Error, Result};
use crate::proto::ModelProto;
use crate::tensor::stored_bytes;
use crate::{external, mapping, wire};

/// An ONNX model: its protobuf form, the file it came from and whether its weights were in data files.
///
/// External data is resolved on reading: every tensor of [`Model::proto`] holds its own data, and
/// [`Model::uses_external_data`] remembers the origin, so that [`Model::write`] puts it back into a data file.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) proto: ModelProto,
    pub(crate) path: Option<PathBuf>,
    pub(crate) data_files: Vec<PathBuf>,
}

impl Model {
    /// Reads a model file by mapping it, with the data files it names.
    ///
    /// The model stays backed by the files: see the crate's documentation for what must not happen to them.
    ///
    /// # Errors
    /// The file is missing, empty, cut short, not an ONNX model, over 2 GiB, or its external data is missing,
    /// outside the model's folder or too short. Use [`crate::check`] for what the graph says.
    pub fn read(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let bytes = mapping::map(&file).map_err(|source| io_error(path, source))?;
        let mut model = Self::decode(bytes, &path.display().to_string())?;
        model.data_files = external::resolve(&mut model.proto, Some(folder_of(path)))?;
        model.path = Some(path.to_owned());
        Ok(model)
    }

    /// Reads a model from memory. External data is looked for in `external_root`, and refused without one.
    ///
    /// # Errors
    /// As [`Model::read`], but for those of the file itself.
    pub fn from_bytes(bytes: Bytes, external_root: Option<&Path>) -> Result<Self> {
        Self::from_bytes_of("the given data", bytes, external_root)
    }

    /// As [`Model::from_bytes`], with what errors call the data: the file that it was read from, say.
    ///
    /// # Errors
    /// As [`Model::from_bytes`].
    pub fn from_bytes_of(origin: &str, bytes: Bytes, external_root: Option<&Path>) -> Result<Self> {
        let mut model = Self::decode(bytes, origin)?;
        model.data_files = external::resolve(&mut model.proto, external_root)?;
        Ok(model)
    }

    /// Takes a model that was built in memory.
    pub fn from_proto(proto: ModelProto) -> Self {
        Self { proto, path: None, data_files: Vec::new() }
    }

    fn decode(bytes: Bytes, origin: &str) -> Result<Self> {
        wire::inspect(&bytes, origin)?;
        let proto = ModelProto::parse_from_tokio_bytes(&bytes);
        let proto = proto.map_err(|source| Error::Malformed { origin: origin.to_owned(), source })?;
        Ok(Self::from_proto(proto))
    }

    /// The protobuf form.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The protobuf form, to be changed.
    pub fn proto_mut(&mut self) -> &mut ModelProto {
        &mut self.proto
    }

    /// The protobuf form, taken out.
    pub fn into_proto(self) -> ModelProto {
        self.proto
    }

    /// The file this model was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether weights were read from data files, and will be written to one.
    pub fn uses_external_data(&self) -> bool {
        !self.data_files.is_empty()
    }

    /// The data files that tensors of this model came from, as absolute paths.
    pub fn data_files(&self) -> &[PathBuf] {
        &self.data_files
    }

    /// Version of the operator set that the model imports for `domain`; `""` is `ai.onnx`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        opset(&self.proto, domain)
    }

    /// Bytes that the main graph's initializers hold.
    pub fn weights_bytes(&self) -> u64 {
        self.proto.graph.initializer.iter().map(stored_bytes).sum()
    }

    /// The whole model in one piece of memory.
    ///
    /// # Errors
    /// The model is larger than a protobuf message can be (2 GiB).
    pub fn to_bytes(&self) -> Result<Bytes> {
        let size = self.proto.compute_size();
        if size > wire::LIMIT_BYTES {
            let origin = "the model".to_owned();
            return Err(Error::TooLarge { origin, bytes: size, limit_bytes: wire::LIMIT_BYTES });
        }
        self.proto.write_to_bytes().map(Bytes::from).map_err(|source| Error::Encode { source })
    }
}

/// The version of `domain` in `model`'s imports.
pub(crate) fn opset(model: &ModelProto, domain: &str) -> Option<i64> {
    let wanted = normal_domain(domain);
    model.opset_import.iter().find(|import| normal_domain(import.domain()) == wanted).map(|import| import.version())
}

/// `ai.onnx` and the empty domain are one.
pub(crate) fn normal_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let metadata = file.metadata().map_err(|source| io_error(path, source))?;
    let origin = || path.display().to_string();
    if metadata.is_dir() {
        return Err(Error::NotOnnx { origin: origin(), reason: "it is a folder".to_owned() });
    }
    if metadata.len() > wire::LIMIT_BYTES {
        return Err(Error::TooLarge { origin: origin(), bytes: metadata.len(), limit_bytes: wire::LIMIT_BYTES });
    }
    Ok(file)
}

fn io_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
        _ => Error::Io { action: "read", path: path.to_owned(), source },
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
