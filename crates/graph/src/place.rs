//! Where the bytes of an output go: into a file that takes the place of an older one, or through what nothing may take the
//! place of.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The place of an output.
#[derive(Debug)]
pub enum Place {
    /// A file, which may be there already; what a link leads to, where the output is one.
    File(PathBuf),
    /// A device or a pipe, open to be written to.
    Special(File),
}

impl Place {
    /// The place behind a path.
    ///
    /// # Errors
    /// It is a folder, or a device or pipe that cannot be opened. Opening a pipe waits for its reader.
    pub fn of(path: &Path) -> io::Result<Self> {
        match path.metadata() {
            Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => Ok(Self::Special(File::options().write(true).open(path)?)),
            Ok(_) if path.is_symlink() => Ok(Self::File(path.canonicalize()?)),
            _ => Ok(Self::File(path.to_owned())),
        }
    }
}
