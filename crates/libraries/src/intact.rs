//! Whether a file can be a whole shared library for this machine, judged from its ELF headers.
//!
//! The loader maps a library without comparing its length with what its headers promise, so a
//! truncated one ends the process with a bus error instead of an error. This check runs before.
//! It reads only headers: whether the code inside is sound is not its business.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file that is no usable shared library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a shared library.
    #[error("{} is not a shared library", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
    },
    /// The file is a library for another kind of processor.
    #[error("{} is for another processor (ELF machine {machine})", path.display())]
    OtherMachine {
        /// The file.
        path: PathBuf,
        /// ELF's number of the processor.
        machine: u16,
    },
    /// The file ends before its content does.
    #[error("{} is truncated: {found_bytes} bytes of at least {needed_bytes}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// The length its headers promise.
        needed_bytes: u64,
    },
}

impl Unusable {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OtherMachine { .. } => "get the library for this machine's processor".to_owned(),
            _ => "get the library anew: remove the file, then run `make setup`".to_owned(),
        })
    }
}

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SHARED_OBJECT: u16 = 3;
const LOADED_SEGMENT: u32 = 1;

/// This machine's processor in ELF's numbering; `None` where it is not known here.
const fn this_machine() -> Option<u16> {
    if cfg!(target_arch = "x86_64") {
        Some(62)
    } else if cfg!(target_arch = "aarch64") {
        Some(183)
    } else {
        None
    }
}

/// Checks that `path` is a whole shared library for this machine.
///
/// # Errors
/// [`Unusable`], which says what is wrong with the file.
pub fn check(path: &Path) -> Result<(), Unusable> {
    let unreadable = |source| Unusable::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let found_bytes = file.metadata().map_err(unreadable)?.len();
    let Some(header) = read_at::<HEADER_BYTES>(&mut file, 0).map_err(unreadable)? else {
        return Err(Unusable::NotALibrary { path: path.to_owned() });
    };
    let machine = check_header(&header, path)?;
    if this_machine().is_some_and(|expected| expected != machine) {
        return Err(Unusable::OtherMachine { path: path.to_owned(), machine });
    }
    let needed_bytes = needed_bytes(&mut file, &header).map_err(unreadable)?;
    if needed_bytes > found_bytes {
        return Err(Unusable::Truncated { path: path.to_owned(), found_bytes, needed_bytes });
    }
    Ok(())
}

/// Checks that the header is of a 64-bit little-endian shared object; gives its machine.
fn check_header(header: &[u8; HEADER_BYTES], path: &Path) -> Result<u16, Unusable> {
    let is_library = header.starts_with(b"\x7fELF\x02\x01")
        && number(header, 16, 2) == u64::from(SHARED_OBJECT)
        && number(header, 54, 2) == SEGMENT_BYTES as u64;
    if !is_library {
        return Err(Unusable::NotALibrary { path: path.to_owned() });
    }
    Ok(u16::from_le_bytes([header[18], header[19]]))
}

/// The length up to the end of the last segment that the loader maps, segment table included.
fn needed_bytes(file: &mut File, header: &[u8; HEADER_BYTES]) -> io::Result<u64> {
    let table = number(header, 32, 8);
    let count = number(header, 56, 2);
    let mut needed = table.saturating_add(count * SEGMENT_BYTES as u64);
    for index in 0..count {
        let position = table.saturating_add(index * SEGMENT_BYTES as u64);
        let Some(segment) = read_at::<SEGMENT_BYTES>(file, position)? else {
            return Ok(needed);
        };
        if number(&segment, 0, 4) == u64::from(LOADED_SEGMENT) {
            let end = number(&segment, 8, 8).saturating_add(number(&segment, 32, 8));
            needed = needed.max(end);
        }
    }
    Ok(needed)
}

/// `N` bytes at a position of the file; `None` when it ends before.
fn read_at<const N: usize>(file: &mut File, position: u64) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    if position >= file.metadata()?.len() {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(position))?;
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A little-endian number of `length` bytes; `at` and `length` are constants inside `bytes`.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
