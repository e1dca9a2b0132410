//! A NumPy file that grows row by row. How many rows there are is written into its header at the end.

use anyhow::Result;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use trtforge_builder::{Error, StagedFile};
use trtforge_runtime::ElementType;

/// An `.npy` under way; it gets its name when it is whole.
pub struct NpyFile {
    staged: StagedFile,
    element: ElementType,
    header_bytes: usize,
}

impl NpyFile {
    /// Begins a file for an array of up to `rank` dimensions beside `target`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(target: &Path, element: ElementType, rank: usize) -> Result<Self> {
        let longest = header(element, &vec![u64::MAX; rank + 1], 0).len();
        let mut file = Self { staged: StagedFile::create(target)?, element, header_bytes: longest };
        file.write(&vec![b' '; longest])?;
        Ok(file)
    }

    /// Appends elements.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.staged.file().write_all(bytes);
        Ok(written.map_err(|source| Error::write(self.staged.target(), source))?)
    }

    /// Writes the header for an array of this shape and puts the file in its place.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn commit(mut self, shape: &[u64]) -> Result<()> {
        let start = self.staged.file().seek(SeekFrom::Start(0));
        start.map_err(|source| Error::write(self.staged.target(), source))?;
        self.write(&header(self.element, shape, self.header_bytes))?;
        Ok(self.staged.commit()?)
    }
}

/// Magic, version 1.0, length, and a dictionary padded so that the elements begin at a multiple of 64 bytes, and not
/// before `least` bytes. (NEP 1, "A Simple File Format for NumPy Arrays".)
fn header(element: ElementType, shape: &[u64], least: usize) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size},")).collect();
    let text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({sizes}), }}", descriptor(element));
    let whole = (10 + text.len() + 1).next_multiple_of(64).max(least);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((whole - 10) as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.resize(whole - 1, b' ');
    bytes.push(b'\n');
    bytes
}

fn descriptor(element: ElementType) -> &'static str {
    match element {
        ElementType::Float32 => "<f4",
        ElementType::Float16 => "<f2",
        ElementType::Int8 => "|i1",
        ElementType::UInt8 => "|u1",
        ElementType::Int32 => "<i4",
        ElementType::Int64 => "<i8",
        _ => "|b1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_numpy_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npy");
        let mut file = NpyFile::create(&path, ElementType::Float32, 2).unwrap();
        for row in 0..3 {
            file.write(&[row as f32, 0.5].map(f32::to_le_bytes).concat()).unwrap();
        }
        assert!(!path.exists(), "it has no name before it is whole");
        file.commit(&[3, 2]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let array = npyz::NpyFile::new(bytes.as_slice()).unwrap();
        assert_eq!(array.shape(), [3, 2]);
        assert_eq!(array.into_vec::<f32>().unwrap(), [0.0, 0.5, 1.0, 0.5, 2.0, 0.5]);
    }

    #[test]
    fn a_scalar_and_a_vector_have_headers_of_their_own() {
        for shape in [&[][..], &[7], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            let bytes = header(ElementType::Bool, shape, 0);
            assert_eq!(bytes.len() % 64, 0);
            assert_eq!(npyz::NpyHeader::from_reader(bytes.as_slice()).unwrap().shape(), shape);
        }
    }
}
