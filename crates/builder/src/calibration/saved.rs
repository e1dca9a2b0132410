//! An observation on disk, so that a pass can be continued, and asked for another method without running the model again.
//!
//! Layout: 8 bytes magic; version and length of the header (u32, little-endian); the header as JSON; the histograms in the order of the header's tensors, each as
//! [`Histogram::encode`] writes it; SHA-256 of everything before. The header says what the observation was made from ([`Binding`]); whoever loads it compares.

use super::{Binding, Histogram, Observation};
use crate::output::StagedFile;
use crate::precision::{Range, Ranges};
use crate::samples::Unreadable;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"TRTFHIST";
const VERSION: u32 = 1;
const DIGEST_BYTES: usize = 32;

/// What lies where an observation may have been saved.
#[derive(Debug)]
pub enum Saved {
    /// No file.
    Nothing,
    /// A file that is not a whole observation of this version.
    Damaged,
    /// An observation.
    Observation(Box<(Binding, Observation)>),
}

/// Where the observation behind a cache is kept.
pub fn histograms_path(cache: &Path) -> PathBuf {
    let mut name = cache.as_os_str().to_owned();
    name.push(".histograms");
    name.into()
}

/// Writes an observation, over an older one.
///
/// # Errors
/// [`Error::Write`]; the older one stays then.
pub fn save_observation(path: &Path, binding: &Binding, observation: &Observation) -> Result<()> {
    StagedFile::write(path, &encode(binding, observation))?.commit()
}

/// Reads what was saved at `path`.
///
/// # Errors
/// [`Error::Io`] where there is a file that cannot be read.
pub fn load_observation(path: &Path) -> Result<Saved> {
    match std::fs::read(path) {
        Ok(bytes) => {
            Ok(checked(&bytes).and_then(decode).map_or(Saved::Damaged, |saved| Saved::Observation(saved.into())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Saved::Nothing),
        Err(error) => Err(Error::io(path, error)),
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    binding: Binding,
    tensors: Vec<String>,
    /// Name and the bits of least and greatest element, because JSON has no infinities.
    ranges: Vec<(String, u32, u32)>,
    samples: usize,
    done: Vec<usize>,
    unreadable: Vec<Unreadable>,
}

fn encode(binding: &Binding, observation: &Observation) -> Vec<u8> {
    let ranges = observation.ranges.iter();
    let header = Header {
        binding: binding.clone(),
        tensors: observation.histograms.keys().cloned().collect(),
        ranges: ranges.map(|(name, range)| (name.to_owned(), range.min.to_bits(), range.max.to_bits())).collect(),
        samples: observation.samples(),
        done: observation.done.iter().copied().collect(),
        unreadable: observation.unreadable().cloned().collect(),
    };
    let header = serde_json::to_vec(&header).expect("strings and numbers have a form in JSON");
    let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &(header.len() as u32).to_le_bytes(), &header].concat();
    observation.histograms.values().for_each(|histogram| histogram.encode(&mut bytes));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// The bytes before the digest, if it is theirs.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    (Sha256::digest(body).as_slice() == digest).then_some(body)
}

fn decode(bytes: &[u8]) -> Option<(Binding, Observation)> {
    let bytes = bytes.strip_prefix(MAGIC)?;
    let (version, bytes) = bytes.split_first_chunk::<4>()?;
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let (header, mut bytes) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let header: Header = serde_json::from_slice(header).ok()?;
    let mut observation = Observation { done: header.done.into_iter().collect(), ..Observation::default() };
    for tensor in header.tensors {
        observation.histograms.insert(tensor, Histogram::decode(&mut bytes)?);
    }
    let mut ranges = Ranges::default();
    for (name, min, max) in &header.ranges {
        ranges.add(name, Range { min: f32::from_bits(*min), max: f32::from_bits(*max) });
    }
    ranges.add_samples(header.samples);
    observation.ranges = ranges;
    observation.unreadable = header.unreadable.into_iter().map(|image| (image.index, image)).collect();
    bytes.is_empty().then_some((header.binding, observation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn observation() -> (Binding, Observation) {
        let mut observation = Observation::default();
        for (tensor, values) in [("a", vec![1.0, -3.5, 0.0]), ("b:0", vec![0.0]), ("never", vec![])] {
            let mut histogram = Histogram::default();
            histogram.add(&values).unwrap();
            observation.histograms.insert(tensor.into(), histogram);
        }
        observation.ranges.add("mask", Range { min: f32::NEG_INFINITY, max: 0.0 });
        observation.ranges.add("odd", Range { min: 0.1, max: 1e-40 });
        observation.ranges.add_samples(5);
        observation.done.extend([0, 1, 2, 7, 4]);
        let image = Unreadable { index: 3, file: "ü.jpg".into(), reason: "it is cut short".into() };
        observation.unreadable.insert(3, image);
        let binding = Binding { model_sha256: Some("m".into()), images: Some(6), ..Binding::default() };
        (binding, observation)
    }

    #[test]
    fn what_is_saved_is_what_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = histograms_path(&folder.path().join("m.cache"));
        assert!(path.ends_with("m.cache.histograms"));
        assert!(matches!(load_observation(&path).unwrap(), Saved::Nothing));
        let (binding, observation) = observation();
        save_observation(&path, &binding, &observation).unwrap();
        let Saved::Observation(saved) = load_observation(&path).unwrap() else { panic!("it is whole") };
        assert_eq!(*saved, (binding, observation));
    }

    #[test]
    fn a_file_of_another_version_is_not_read() {
        let (binding, observation) = observation();
        let mut bytes = encode(&binding, &observation);
        bytes.truncate(bytes.len() - DIGEST_BYTES);
        assert!(decode(&bytes).is_some());
        bytes[8] += 1;
        assert!(decode(&bytes).is_none());
    }

    proptest! {
        #[test]
        fn damaged_files_are_noticed(place in any::<prop::sample::Index>(), change in 1u8.., cut in any::<prop::sample::Index>()) {
            let (binding, observation) = observation();
            let bytes = encode(&binding, &observation);
            let mut changed = bytes.clone();
            changed[place.index(bytes.len())] ^= change;
            prop_assert!(checked(&changed).is_none());
            prop_assert!(checked(&bytes[..cut.index(bytes.len())]).is_none());
        }

        #[test]
        fn nothing_that_is_read_panics(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
            let (binding, observation) = observation();
            let mut bytes = encode(&binding, &observation);
            let length = bytes.len() - DIGEST_BYTES;
            for (place, byte) in places {
                bytes[place.index(length)] = byte;
            }
            let _ = decode(&bytes[..length]);
            let _ = decode(&bytes[..cut.index(length)]);
        }

        #[test]
        fn any_bytes_may_lie_there(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[MAGIC.as_slice(), &bytes].concat());
            let _ = decode(&[MAGIC.as_slice(), &VERSION.to_le_bytes(), &bytes].concat());
        }
    }
}
