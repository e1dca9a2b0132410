//! The bytes of an engine file: mapped, in memory, or read from somewhere.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;
#[cfg(feature = "onnx")]
use std::sync::Arc;

use crate::error::{Error, Result};

/// The bytes of a file with the name to call it by.
pub(crate) struct Source {
    pub(crate) name: String,
    bytes: Storage,
}

enum Storage {
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Source {
    /// Maps a file. Cutting it short while it is open ends the process; replace files by renaming.
    pub(crate) fn map(path: &Path) -> Result<Self> {
        let failed = |action, source| Error::Io { action, path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| failed("open", error))?;
        let length = file.metadata().map_err(|error| failed("read", error))?.len();
        let name = path.display().to_string();
        if length == 0 {
            return Ok(Self { name, bytes: Storage::Owned(Vec::new()) });
        }
        // SAFETY: the mapping is private and read-only, and lives as long as its owner here. Another process that cuts the
        // file short is the hazard stated above.
        #[allow(unsafe_code)]
        let mapping = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| failed("map", error))?;
        Ok(Self { name, bytes: Storage::Mapped(mapping) })
    }

    /// Reads to the end.
    pub(crate) fn read(name: &str, mut reader: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { action: "read", path: name.into(), source })?;
        Ok(Self::owned(name, bytes))
    }

    pub(crate) fn owned(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes: Storage::Owned(bytes) }
    }

    /// Bytes of a source that stays where it is, for several to hold.
    #[cfg(feature = "onnx")]
    pub(crate) fn shared(self: &Arc<Self>) -> bytes::Bytes {
        struct Held(Arc<Source>);
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        bytes::Bytes::from_owner(Held(Arc::clone(self)))
    }

    /// As bytes that several can hold.
    #[cfg(feature = "onnx")]
    pub(crate) fn into_shared(self) -> bytes::Bytes {
        match self.bytes {
            Storage::Owned(bytes) => bytes.into(),
            Storage::Mapped(mapping) => bytes::Bytes::from_owner(mapping),
        }
    }
}

impl Deref for Source {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Storage::Owned(bytes) => bytes,
            Storage::Mapped(mapping) => mapping,
        }
    }
}
