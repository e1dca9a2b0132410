//! Whether a file is a whole shared object.
//!
//! The system's loader maps a library without comparing its parts with the file's size, so that a library cut short
//! ends the process with a bus error. This check reads the few header fields that tell; it must never load anything.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A fault that makes a file unfit to be loaded, in a person's words.
pub(crate) type Fault = String;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const LOAD: u32 = 1;

/// What is wrong with the shared object at `path`, if anything.
pub(crate) fn fault(path: &Path) -> io::Result<Option<Fault>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut header = [0; HEADER_BYTES];
    if size < HEADER_BYTES as u64 {
        return Ok(Some(format!("it has only {size} bytes")));
    }
    file.read_exact(&mut header)?;
    if let Some(fault) = foreign(&header) {
        return Ok(Some(fault));
    }
    let end = file_end(&mut file, &header, size)?;
    Ok((end > size).then(|| format!("it is cut short: {size} of {end} bytes are there")))
}

/// Why this program could not load a file with such a header, whole or not.
fn foreign(header: &[u8; HEADER_BYTES]) -> Option<Fault> {
    if header[..4] != *b"\x7fELF" {
        return Some("it is not a shared library".into());
    }
    let native = header[4] == 2 && header[5] == 1;
    (!native).then(|| "it is not built for this machine".into())
}

/// Offset after the last byte that the headers refer to, as far as `size` lets them be read.
fn file_end(file: &mut File, header: &[u8; HEADER_BYTES], size: u64) -> io::Result<u64> {
    let programs = u64_at(header, 32);
    let count = usize::from(u16_at(header, 56));
    let sections_end = u64_at(header, 40).saturating_add(u64::from(u16_at(header, 58)) * u64::from(u16_at(header, 60)));
    let programs_end = programs.saturating_add((count * PROGRAM_HEADER_BYTES) as u64);
    let mut end = sections_end.max(programs_end);
    if programs_end > size {
        return Ok(end);
    }
    let mut table = vec![0; count * PROGRAM_HEADER_BYTES];
    file.seek(SeekFrom::Start(programs))?;
    file.read_exact(&mut table)?;
    for program in table.chunks_exact(PROGRAM_HEADER_BYTES).filter(|program| u32_at(program, 0) == LOAD) {
        end = end.max(u64_at(program, 8).saturating_add(u64_at(program, 32)));
    }
    Ok(end)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Option<Fault> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        fault(file.path()).unwrap()
    }

    #[test]
    fn this_program_is_whole_and_any_part_of_it_is_not() {
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(check(&whole), None);
        for part in [0, 10, 63, 64, 200, 4096, whole.len() / 2, whole.len() - 1] {
            assert!(check(&whole[..part]).is_some(), "{part} of {} bytes passed", whole.len());
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(check(&[b'x'; 100]).unwrap().contains("not a shared library"));
        let mut other_word_size = [0; 100];
        other_word_size[..6].copy_from_slice(b"\x7fELF\x01\x01");
        assert!(check(&other_word_size).unwrap().contains("not built for this machine"));
    }
}
