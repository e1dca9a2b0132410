//! Brings initializers that live in data files beside the model into the model, by mapping those files.
//!
//! A location is taken from an untrusted file, so it must stay inside the model's folder, links followed; nothing
//! outside may ever be opened. Data is mapped, not copied.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::mapping::map;
use crate::proto::{ModelProto, TensorProto, tensor_proto::DataLocation};
use crate::tensor::dense_bytes;
use crate::visit::tensors_mut;

/// Replaces every external tensor's reference by its data. Returns the data files, each once.
pub(crate) fn resolve(model: &mut ModelProto, folder: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut files = DataFiles { folder, mapped: HashMap::new(), paths: BTreeSet::new() };
    tensors_mut(model, &mut |tensor| {
        if is_external(tensor) {
            files.load(tensor)?;
        }
        Ok(())
    })?;
    Ok(files.paths.into_iter().collect())
}

pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location.is_some_and(|location| location.value() == DataLocation::EXTERNAL as i32)
}

struct DataFiles<'a> {
    folder: Option<&'a Path>,
    mapped: HashMap<String, Bytes>,
    paths: BTreeSet<PathBuf>,
}

impl DataFiles<'_> {
    fn load(&mut self, tensor: &mut TensorProto) -> Result<()> {
        let entry = Entry::read(tensor)?;
        let data = self.open(tensor.name(), &entry.location)?;
        let file_bytes = data.len() as u64;
        let length = match entry.length {
            Some(length) => length,
            None => dense_bytes(tensor)?.unwrap_or_else(|| file_bytes.saturating_sub(entry.offset)),
        };
        let end = entry.offset.checked_add(length).filter(|&end| end <= file_bytes);
        let Some(end) = end else {
            let (tensor, location) = (tensor.name().to_owned(), entry.location);
            return Err(Error::ExternalRange { tensor, location, offset: entry.offset, length, file_bytes });
        };
        tensor.raw_data = Some(data.slice(entry.offset as usize..end as usize));
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }

    fn open(&mut self, tensor: &str, location: &str) -> Result<Bytes> {
        if let Some(data) = self.mapped.get(location) {
            return Ok(data.clone());
        }
        let Some(folder) = self.folder else {
            return Err(Error::ExternalWithoutFolder { tensor: tensor.to_owned(), location: location.to_owned() });
        };
        let path = contained_path(folder, tensor, location)?;
        let data = File::open(&path).and_then(|file| map(&file));
        let data = data.map_err(|source| Error::Io { action: "read", path: path.clone(), source })?;
        self.paths.insert(path);
        self.mapped.insert(location.to_owned(), data.clone());
        Ok(data)
    }
}

/// Where `location` is, if that is a plain file inside `folder` after every link is followed.
fn contained_path(folder: &Path, tensor: &str, location: &str) -> Result<PathBuf> {
    let outside = |reason| Error::ExternalOutside { tensor: tensor.to_owned(), location: location.to_owned(), reason };
    for component in Path::new(location).components() {
        match component {
            Component::Normal(_) | Component::CurDir => {}
            Component::ParentDir => return Err(outside("it climbs out of the model's folder")),
            Component::RootDir | Component::Prefix(_) => return Err(outside("it is an absolute path")),
        }
    }
    let joined = folder.join(location);
    let missing =
        || Error::ExternalMissing { tensor: tensor.to_owned(), location: location.to_owned(), path: joined.clone() };
    let real = joined.canonicalize().map_err(|_| missing())?;
    let root = folder.canonicalize().map_err(|_| missing())?;
    if !real.starts_with(&root) {
        return Err(outside("a link leads out of the model's folder"));
    }
    if !real.is_file() {
        return Err(outside("it is not a plain file"));
    }
    Ok(real)
}

struct Entry {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl Entry {
    fn read(tensor: &TensorProto) -> Result<Self> {
        let find = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
        let number = |key: &str| find(key).map(|value| parse(tensor, key, value)).transpose();
        let location = find("location").filter(|location| !location.is_empty());
        let location = location.ok_or_else(|| unusable(tensor, "location", ""))?.to_owned();
        Ok(Self { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }
}

fn parse(tensor: &TensorProto, key: &str, value: &str) -> Result<u64> {
    value.trim().parse().map_err(|_| unusable(tensor, key, value))
}

fn unusable(tensor: &TensorProto, key: &str, value: &str) -> Error {
    Error::ExternalEntry { tensor: tensor.name().to_owned(), key: key.to_owned(), value: value.to_owned() }
}
