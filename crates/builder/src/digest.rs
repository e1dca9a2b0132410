//! SHA-256 of files and requests: what a build depends on, so that an unchanged one is answered from what is there.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};
use trtforge_graph::Model;

/// SHA-256 of bytes, in hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// SHA-256 of a file's content, in hexadecimal; streamed.
///
/// # Errors
/// [`Error::Io`] where it cannot be read.
pub fn of_file(path: &Path) -> Result<String> {
    of_files(&[path.to_owned()])
}

/// SHA-256 over the content of several files in the given order.
///
/// # Errors
/// [`Error::Io`] naming the file that cannot be read.
pub fn of_files(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let mut file = std::fs::File::open(path).map_err(|source| Error::io(path, source))?;
        loop {
            match file.read(&mut buffer).map_err(|source| Error::io(path, source))? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
    }
    Ok(hex::encode(hasher.finalize()))
}

/// SHA-256 over the content of a model file and the data files that it names.
///
/// # Errors
/// [`Error::Model`] where the model cannot be read, [`Error::Io`] naming a file that cannot.
pub fn of_model(path: &Path) -> Result<String> {
    let model = Model::read(path).map_err(|source| Error::model(path, source))?;
    let mut files = vec![path.to_owned()];
    files.extend_from_slice(model.data_files());
    of_files(&files)
}

/// SHA-256 over the digests of several files in the given order, a file that cannot be read being as good as an empty one.
pub fn of_readable_files(paths: &[PathBuf]) -> String {
    let digests = paths.iter().map(|path| of_file(path).unwrap_or_default() + "\n");
    of_bytes(digests.collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_bytes_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(of_file(&path).unwrap(), of_bytes(b"abc"));
        assert_eq!(of_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
