//! SHA-256 of files and requests: what a build depends on, so that an unchanged one is answered from what is there.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

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
