//! `CACHE.json`: what a calibration cache was made from, because TensorRT's text format does not say.
//!
//! A cache with a sidecar is used only for what it was made for. A cache without one was made elsewhere; all that can be asked of it is whether its tensors are those of
//! the model ([`check_tensors`]). Anything that differs is named, so that the refusal tells what changed.

use super::{CalibrationCache, Method};
use crate::output::StagedFile;
use crate::shapes::Shape;
use crate::{Error, Result, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The layout this version writes and the newest it reads.
pub const SIDECAR_SCHEMA: u32 = 1;

/// Characters of a digest in a message.
const SHORT_DIGEST: usize = 12;

/// Everything recorded about a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Version of this layout.
    pub schema: u32,
    /// Version of the tool that wrote it.
    pub trtforge: String,
    /// What the cache belongs to.
    #[serde(flatten)]
    pub binding: Binding,
    /// SHA-256 of the cache file, which no one may edit unnoticed.
    pub cache_sha256: String,
    /// Method and threshold per tensor where the method is `auto`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, ChosenThreshold>,
    /// Images that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedImage>,
}

/// What a calibration depends on. A part that is `None` is unknown; it is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// SHA-256 of the model file and its external data.
    pub model_sha256: Option<String>,
    /// SHA-256 over the calibration files.
    pub data_sha256: Option<String>,
    /// SHA-256 of the `preprocess` block.
    pub preprocess_sha256: Option<String>,
    /// Input shapes of the calibration. The batch size changes no result; callers put 1 in its place.
    pub shapes: Option<BTreeMap<String, Shape>>,
    /// How many samples were asked for.
    pub images: Option<usize>,
    /// `auto`, or the name of a [`Method`].
    pub method: Option<String>,
}

/// What `auto` chose for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChosenThreshold {
    /// The method.
    pub method: Method,
    /// Its threshold, in the tensor's unit.
    pub threshold: f32,
}

/// An image that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedImage {
    /// Its path as it was listed.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A part in which a cache and the present calibration differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `model`, `calibration data`, `preprocess block`, `input shapes`, `number of images`, `method` or `cache file`.
    pub what: &'static str,
    /// As the cache was made.
    pub recorded: String,
    /// As it is now.
    pub current: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, now {}", self.what, self.recorded, self.current)
    }
}

impl Binding {
    /// In what the `current` calibration differs from this one.
    pub fn differences(&self, current: &Binding) -> Vec<Difference> {
        let (old, new) = (self, current);
        let differences = [
            difference("model", &old.model_sha256, &new.model_sha256, |digest| short(digest)),
            difference("calibration data", &old.data_sha256, &new.data_sha256, |digest| short(digest)),
            difference("preprocess block", &old.preprocess_sha256, &new.preprocess_sha256, |digest| short(digest)),
            difference("input shapes", &old.shapes, &new.shapes, list_shapes),
            difference("number of images", &old.images, &new.images, usize::to_string),
            difference("method", &old.method, &new.method, String::clone),
        ];
        differences.into_iter().flatten().collect()
    }
}

impl Sidecar {
    /// The sidecar of a cache that was just made.
    pub fn new(binding: Binding, cache: &CalibrationCache) -> Self {
        Sidecar {
            schema: SIDECAR_SCHEMA,
            trtforge: env!("CARGO_PKG_VERSION").to_owned(),
            binding,
            cache_sha256: digest::of_bytes(&cache.to_bytes()),
            tensors: BTreeMap::new(),
            skipped: vec![],
        }
    }

    /// Where the sidecar of a cache lies: the cache's path with `.json` appended.
    pub fn path_for(cache: &Path) -> PathBuf {
        let mut path = cache.as_os_str().to_owned();
        path.push(".json");
        PathBuf::from(path)
    }

    /// Reads the sidecar of a cache; `None` where there is none, so that the cache was made elsewhere.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Sidecar`] where it is not one of ours or of a newer schema.
    pub fn read(cache: &Path) -> Result<Option<Self>> {
        let path = Sidecar::path_for(cache);
        match std::fs::read(&path) {
            Ok(bytes) => Sidecar::parse(&bytes).map(Some).map_err(|reason| Error::Sidecar { path, reason }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io(&path, source)),
        }
    }

    /// Parses a sidecar's bytes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        #[derive(Deserialize)]
        struct Header {
            schema: u32,
        }
        let header: Header =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no calibration sidecar: {error}"))?;
        if header.schema == 0 || header.schema > SIDECAR_SCHEMA {
            return Err(format!("its schema is {}, this version reads up to {SIDECAR_SCHEMA}", header.schema));
        }
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The sidecar as pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a sidecar holds only strings, numbers and lists");
        text.push('\n');
        text
    }

    /// Writes the cache at `path` and this sidecar beside it. Both are complete before either is renamed; between the two renames the digest shows that they do not
    /// belong together.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_with(&self, cache: &CalibrationCache, path: &Path) -> Result<()> {
        let text = StagedFile::write(path, &cache.to_bytes())?;
        let sidecar = StagedFile::write(&Sidecar::path_for(path), self.to_json().as_bytes())?;
        text.commit()?;
        sidecar.commit()
    }

    /// In what the calibration that this cache belongs to differs from the `current` one, and whether the cache file was edited. `cache` is its bytes.
    pub fn verify(&self, current: &Binding, cache: &[u8]) -> Vec<Difference> {
        let edited = Some(digest::of_bytes(cache));
        let mut differences = self.binding.differences(current);
        differences.extend(difference("cache file", &Some(self.cache_sha256.clone()), &edited, |digest| short(digest)));
        differences
    }

    /// Refuses the cache at `path` where [`Sidecar::verify`] finds a difference.
    ///
    /// # Errors
    /// [`Error::StaleCache`] with the differences.
    pub fn require(&self, current: &Binding, cache: &[u8], path: &Path) -> Result<()> {
        match self.verify(current, cache) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(Error::StaleCache { path: path.to_owned(), differences }),
        }
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT_DIGEST).collect()
}

fn difference<T: PartialEq>(
    what: &'static str,
    recorded: &Option<T>,
    current: &Option<T>,
    describe: impl Fn(&T) -> String,
) -> Option<Difference> {
    let (recorded, current) = (recorded.as_ref()?, current.as_ref()?);
    (recorded != current).then(|| Difference { what, recorded: describe(recorded), current: describe(current) })
}

fn list_shapes(shapes: &BTreeMap<String, Shape>) -> String {
    let list: Vec<String> = shapes.iter().map(|(input, shape)| format!("{input}={shape}")).collect();
    list.join(" ")
}

/// How a cache and a model fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheFit {
    /// Tensors that need a scale and have none.
    pub missing: Vec<String>,
    /// Tensors of the cache that the model does not have.
    pub foreign: Vec<String>,
}

/// Compares the tensors of a cache with those of a model: `needed` must have a scale, `known` tells whether the model has a tensor. TensorRT's own names for what its
/// parser added, such as `(Unnamed Layer* 3) [Shuffle]_output`, are nobody's and count as known.
pub fn check_tensors(cache: &CalibrationCache, needed: &[String], known: &dyn Fn(&str) -> bool) -> CacheFit {
    let missing = needed.iter().filter(|tensor| cache.scale(tensor).is_none());
    let names = cache.entries().iter().map(|(tensor, _)| tensor);
    let foreign = names.filter(|tensor| !tensor.starts_with("(Unnamed ") && !known(tensor));
    CacheFit { missing: missing.cloned().collect(), foreign: foreign.cloned().collect() }
}

impl CacheFit {
    /// Refuses a cache that lacks tensors or has foreign ones.
    ///
    /// # Errors
    /// [`Error::ForeignCache`] with both lists.
    pub fn require(self, path: &Path) -> Result<()> {
        if self.missing.is_empty() && self.foreign.is_empty() {
            return Ok(());
        }
        Err(Error::ForeignCache { path: path.to_owned(), missing: self.missing, foreign: self.foreign })
    }
}
