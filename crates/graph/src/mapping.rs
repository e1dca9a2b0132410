//! Files mapped into memory as shared, read-only bytes. The one place of this crate with `unsafe`.
//!
//! It must stay the only one, and must never hand out a mapping that can be written.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use bytes::Bytes;

/// The whole of `file`, mapped read-only and released with the last clone of the result.
///
/// Cutting the file short while the mapping is in use makes the next access to the lost part end the process with
/// SIGBUS. Writing into it in place changes what is read. Neither can be prevented here; replace files by renaming.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private, read-only and owned by the returned `Bytes`, which unmaps it when the last clone
    // goes, from any thread. The remaining hazard, another process changing the file, is stated above and in the
    // crate's documentation.
    let mapping = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(mapping))
}
