//! TensorRT's calibration cache: text, one line per tensor, read and written.
//!
//! ```text
//! TRT-101401-EntropyCalibration2
//! images: 3c010a14
//! (Unnamed Layer* 3) [Convolution]_output: 3c88edfc
//! ```
//!
//! The first line names the release of TensorRT that may use the file and the algorithm that made it. The others give a tensor's scale, which is its threshold divided
//! by 127, as the hexadecimal digits of the IEEE-754 word without leading zeros. Names may hold colons. Nothing in the file says which model or data it belongs to;
//! that is what [`Sidecar`](super::Sidecar) is for.

use super::DEAD_SCALE;
use crate::output::StagedFile;
use crate::{CalibrationMethod, Error, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::Path;

/// The first line of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheHeader {
    /// TensorRT's release as one number: `8501` for 8.5.1, `101401` for 10.14.1. Text, because some writers put letters there.
    pub version: String,
    /// For example `EntropyCalibration2`.
    pub algorithm: String,
}

/// A whole cache: finite scales above zero, no name twice, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationCache {
    header: CacheHeader,
    entries: Vec<(String, f32)>,
    places: HashMap<String, usize>,
}

/// A line that makes a text no calibration cache, or an entry that cannot be written as one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct CacheError {
    /// From 1; the header is line 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: CacheFault,
}

/// What can be wrong with a line of a cache.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CacheFault {
    /// The first line is no header.
    #[error("a calibration cache starts with TRT-<version>-<algorithm>, not with `{0}`")]
    Header(String),
    /// Bytes that are no UTF-8.
    #[error("it is no text")]
    Encoding,
    /// No colon, or nothing in front of the last one.
    #[error("`{0}` is not <tensor>: <scale in hexadecimal>")]
    Entry(String),
    /// Something other than one to eight hexadecimal digits.
    #[error("the scale of tensor `{tensor}` is `{digits}`, not one to eight hexadecimal digits")]
    Digits {
        /// The tensor.
        tensor: String,
        /// What stands behind its colon.
        digits: String,
    },
    /// A scale that is zero, negative, infinite or NaN.
    #[error("the scale of tensor `{tensor}` is {scale}, and a scale is a finite number above zero")]
    Scale {
        /// The tensor.
        tensor: String,
        /// The scale.
        scale: f32,
    },
    /// A tensor that has a line already.
    #[error("tensor `{tensor}` stands in line {first} already")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// Its earlier line.
        first: usize,
    },
}

impl CacheFault {
    /// What the user can do next, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            CacheFault::Scale { tensor, scale: 0.0 } => Some(format!(
                "TensorRT writes 0 for a tensor that was zero throughout, and for such a tensor any scale will do: write `{tensor}: {:x}`, or make the cache again with `trtforge calibrate`",
                DEAD_SCALE.to_bits()
            )),
            _ => Some("make the cache again with `trtforge calibrate`".into()),
        }
    }
}

impl CacheHeader {
    /// The header of a cache that we write: `EntropyCalibration2` for entropy, `MinMaxCalibration` for minmax, `LegacyCalibration` for percentile, and
    /// `EntropyCalibration2` for what TensorRT has no calibrator for (mse and auto), because that is the calibrator that most programs read caches with.
    pub fn new(version: &str, method: CalibrationMethod) -> Self {
        let algorithm = match method {
            CalibrationMethod::Minmax => "MinMaxCalibration",
            CalibrationMethod::Percentile => "LegacyCalibration",
            CalibrationMethod::Entropy | CalibrationMethod::Mse | CalibrationMethod::Auto => "EntropyCalibration2",
        };
        CacheHeader { version: version.to_owned(), algorithm: algorithm.to_owned() }
    }

    /// TensorRT's number for a release: two digits each for minor and patch from 10 on, one digit and two before.
    pub fn version_number(major: u32, minor: u32, patch: u32) -> String {
        let number = if major >= 10 { major * 10_000 } else { major * 1000 } + minor * 100 + patch;
        number.to_string()
    }

    fn parse(line: &str) -> std::result::Result<Self, CacheFault> {
        let parts = line.strip_prefix("TRT-").and_then(|rest| rest.split_once('-'));
        let header = parts.map(|(version, algorithm)| CacheHeader {
            version: version.to_owned(),
            algorithm: algorithm.trim_end().to_owned(),
        });
        header.filter(CacheHeader::is_sound).ok_or_else(|| CacheFault::Header(line.to_owned()))
    }

    /// Whether the header can be written and read back.
    fn is_sound(&self) -> bool {
        let word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        word(&self.version) && !self.version.contains('-') && word(&self.algorithm)
    }
}

impl fmt::Display for CacheHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TRT-{}-{}", self.version, self.algorithm)
    }
}

impl CalibrationCache {
    /// A cache of `entries`, each a tensor and its scale, in this order.
    ///
    /// # Errors
    /// The entry, by the line it would stand in, whose name has no place in the format, is there twice, or whose scale is no finite number above zero.
    pub fn new(
        header: CacheHeader,
        entries: impl IntoIterator<Item = (String, f32)>,
    ) -> std::result::Result<Self, CacheError> {
        if !header.is_sound() {
            return Err(CacheError { line: 1, fault: CacheFault::Header(header.to_string()) });
        }
        let mut cache = CalibrationCache { header, entries: vec![], places: HashMap::new() };
        let mut lines = vec![];
        for (index, (tensor, scale)) in entries.into_iter().enumerate() {
            cache.push(tensor, scale, index + 2, &mut lines)?;
        }
        Ok(cache)
    }

    /// Reads a cache file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::CalibrationCache`] with the line where it is no cache.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
        CalibrationCache::parse(&bytes)
            .map_err(|source| Error::CalibrationCache { path: path.to_owned(), source: Box::new(source) })
    }

    /// Parses the bytes of a cache. Lines may end in CR LF, the last one in nothing; blank lines are skipped.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, CacheError> {
        let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().map(|(index, line)| (index + 1, text(line)));
        let first = lines.next().map_or(Ok(""), |(_, line)| line);
        let header = first.and_then(CacheHeader::parse).map_err(|fault| CacheError { line: 1, fault })?;
        let mut cache = CalibrationCache { header, entries: vec![], places: HashMap::new() };
        let mut places = vec![];
        for (line, content) in lines {
            let at = |fault| CacheError { line, fault };
            let content = content.map_err(at)?;
            if !content.trim().is_empty() {
                let (tensor, scale) = entry(content).map_err(at)?;
                cache.push(tensor, scale, line, &mut places)?;
            }
        }
        Ok(cache)
    }

    /// The first line.
    pub fn header(&self) -> &CacheHeader {
        &self.header
    }

    /// Tensors and their scales, in the order of the file.
    pub fn entries(&self) -> &[(String, f32)] {
        &self.entries
    }

    /// The scale of a tensor: its threshold divided by 127.
    pub fn scale(&self, tensor: &str) -> Option<f32> {
        self.places.get(tensor).map(|&place| self.entries[place].1)
    }

    /// The cache as TensorRT writes it: LF behind every line, lower case, no leading zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lines = self.entries.iter().map(|(tensor, scale)| format!("{tensor}: {:x}\n", scale.to_bits()));
        std::iter::once(format!("{}\n", self.header)).chain(lines).collect::<String>().into_bytes()
    }

    /// Writes the cache, under a temporary name first.
    ///
    /// # Errors
    /// [`Error::Write`]; an older file is intact then.
    pub fn write(&self, path: &Path) -> Result<()> {
        StagedFile::write(path, &self.to_bytes())?.commit()
    }

    fn push(
        &mut self,
        tensor: String,
        scale: f32,
        line: usize,
        lines: &mut Vec<usize>,
    ) -> std::result::Result<(), CacheError> {
        let fault = |fault| Err(CacheError { line, fault });
        if tensor.is_empty() || tensor.contains('\n') {
            return fault(CacheFault::Entry(tensor));
        }
        if !(scale.is_finite() && scale > 0.0) {
            return fault(CacheFault::Scale { tensor, scale });
        }
        match self.places.entry(tensor.clone()) {
            Entry::Occupied(place) => fault(CacheFault::Duplicate { tensor, first: lines[*place.get()] }),
            Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push((tensor, scale));
                lines.push(line);
                Ok(())
            }
        }
    }
}

/// A line as text, without the CR of a CR LF.
fn text(line: &[u8]) -> std::result::Result<&str, CacheFault> {
    std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| CacheFault::Encoding)
}

fn entry(line: &str) -> std::result::Result<(String, f32), CacheFault> {
    let (tensor, digits) = line.rsplit_once(':').ok_or_else(|| CacheFault::Entry(line.to_owned()))?;
    let (tensor, digits) = (tensor.to_owned(), digits.trim());
    let hexadecimal = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u32::from_str_radix(digits, 16) {
        Ok(bits) if hexadecimal => Ok((tensor, f32::from_bits(bits))),
        _ => Err(CacheFault::Digits { tensor, digits: digits.to_owned() }),
    }
}
