//! Writes a model so that its file is either the whole new one or what was there before.
//!
//! The model is streamed to a temporary file in the output's folder, which is then renamed. Nothing may be written to
//! the final name directly, unless that is a device or a pipe; weights are not gathered in memory first.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protobuf::{CodedOutputStream, Message};
use tempfile::NamedTempFile;

use crate::construct::entry;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::place::Place;
use crate::proto::ModelProto;
use crate::wire::LIMIT_BYTES;

/// Tensors below this stay in the model file: readers need small ones (shapes, axes) at hand.
const EXTERNAL_MIN_BYTES: usize = 1024;
/// Where a tensor may begin in a data file, so that readers can map it.
const DATA_ALIGNMENT: u64 = 4096;

impl Model {
    /// Writes the model to `path`, replacing what is there in one step.
    ///
    /// Weights that were read from data files, and those of a model too large for one file, go to `<path>.data`.
    /// The data file is replaced before the model file, so that an interruption between the two leaves the old model
    /// with new data only if both existed before under these names.
    ///
    /// # Errors
    /// The folder is missing, not writable or full, or the model is over 2 GiB even without its weights.
    pub fn write(&self, path: &Path) -> Result<()> {
        if !self.uses_external_data() && self.proto.compute_size() <= LIMIT_BYTES {
            return write_file(path, |out| encode(&self.proto, out));
        }
        self.write_external(path)
    }

    fn write_external(&self, path: &Path) -> Result<()> {
        let data_path = data_path(path);
        let location = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut layout = DataLayout { location, end: 0, pieces: Vec::new() };
        let skeleton = self.skeleton(EXTERNAL_MIN_BYTES, &mut |data, tensor| {
            tensor.external_data = layout.place(data);
        });
        let size = skeleton.compute_size();
        if size > LIMIT_BYTES {
            let origin = path.display().to_string();
            return Err(Error::TooLarge { origin, bytes: size, limit_bytes: LIMIT_BYTES });
        }
        if !layout.pieces.is_empty() {
            write_file(&data_path, |out| layout.write(out))?;
        }
        write_file(path, |out| encode(&skeleton, out))
    }
}

/// Offsets in a data file, and what goes there.
struct DataLayout {
    location: String,
    end: u64,
    pieces: Vec<(u64, Bytes)>,
}

impl DataLayout {
    fn place(&mut self, data: Bytes) -> Vec<crate::proto::StringStringEntryProto> {
        let offset = self.end.next_multiple_of(DATA_ALIGNMENT);
        let length = data.len() as u64;
        self.end = offset + length;
        self.pieces.push((offset, data));
        let offset = offset.to_string();
        vec![entry("location", &self.location), entry("offset", &offset), entry("length", &length.to_string())]
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let padding = [0u8; DATA_ALIGNMENT as usize];
        let mut position = 0;
        for (offset, data) in &self.pieces {
            out.write_all(&padding[..(offset - position) as usize])?;
            out.write_all(data)?;
            position = offset + data.len() as u64;
        }
        Ok(())
    }
}

enum Failure {
    Io(io::Error),
    Encode(protobuf::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// Keeps the first failure of the output, which the encoder would return as one of its own.
struct Observed<'a> {
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl Observed<'_> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.failed.get_or_insert(error);
            kind.into()
        })
    }
}

impl Write for Observed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

fn encode(proto: &ModelProto, out: &mut dyn Write) -> Result<(), Failure> {
    let mut observed = Observed { out, failed: None };
    let mut stream = CodedOutputStream::new(&mut observed);
    let encoded = proto.write_to_with_cached_sizes(&mut stream).and_then(|()| stream.flush());
    drop(stream);
    match (encoded, observed.failed) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(error)) => Err(Failure::Io(error)),
        (Err(error), None) => Err(Failure::Encode(error)),
    }
}

fn write_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), Failure>) -> Result<()> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let write_to = |file: &mut File| {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        fill(&mut out).map_err(|failure| match failure {
            Failure::Io(source) => failed(source),
            Failure::Encode(source) => Error::Encode { source },
        })?;
        out.flush().map_err(failed)
    };
    let place = match Place::of(path).map_err(failed)? {
        Place::Special(mut file) => return write_to(&mut file),
        Place::File(place) => place,
    };
    let mut temporary = temporary_file(&place).map_err(failed)?;
    write_to(temporary.as_file_mut())?;
    temporary.persist(place).map(drop).map_err(|error| failed(error.error))
}

/// A temporary file with the permissions that a new file gets, or those of the file it replaces.
fn temporary_file(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let mut builder = tempfile::Builder::new();
    let temporary = builder.prefix(&prefix).suffix(".partial").make_in(folder, |name| File::create_new(name))?;
    if let Ok(existing) = path.metadata() {
        temporary.as_file().set_permissions(existing.permissions())?;
    }
    Ok(temporary)
}

/// Where the weights of the model at `path` go. The name is written into the model, so it is made of text.
pub fn data_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.data"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::construct::{model, tensor};
    use crate::proto::GraphProto;

    /// An output with room for so many bytes.
    struct Room(usize);

    impl Write for Room {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_the_outputs_failure() {
        let weights = tensor("w", [100_000], vec![1f32; 100_000]);
        let proto = model(GraphProto { initializer: vec![weights], ..Default::default() }, 8, 17);
        let size = proto.compute_size() as usize;
        assert!(encode(&proto, &mut Room(size)).is_ok());
        for room in [0, 10, size - 1] {
            let failure = encode(&proto, &mut Room(room));
            assert!(matches!(failure, Err(Failure::Io(error)) if error.kind() == io::ErrorKind::StorageFull));
        }
    }

    #[test]
    fn a_device_stays_and_tells_that_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::from_proto(model(GraphProto::default(), 8, 17));
        for (name, fits) in [("null", true), ("full", false)] {
            let link = folder.path().join(name);
            std::os::unix::fs::symlink(Path::new("/dev").join(name), &link).unwrap();
            assert_eq!(model.write(&link).is_ok(), fits);
            assert!(link.is_symlink());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_leads_to_the_model_that_is_replaced() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, real) = (folder.path().join("link.onnx"), other.path().join("real.onnx"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        Model::from_proto(model(GraphProto::default(), 8, 17)).write(&link).unwrap();
        assert!(link.is_symlink() && Model::read(&real).is_ok());
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
    }
}
