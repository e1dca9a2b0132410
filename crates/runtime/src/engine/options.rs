//! How an engine is opened, and from what.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "tensorrt")]
use super::Formats;
use super::bundle;
use super::function::Function;
use super::manifest::{self, Manifest};
use super::plan_file::{self, Contents};
use super::source::Source;
use super::{Engine, EngineFault, Kind};
use crate::device::{Class, Host};
use crate::error::{Error, Result};
use crate::ledger::Ledger;

/// How an engine is opened.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// The ledger to be in. Engines on one device should share one.
    pub ledger: Ledger,
    /// The host, for engines that run there.
    pub host: Host,
    /// Number of the GPU, for engines that run there.
    pub gpu: u32,
    /// Threads within an operator of an ONNX model; 0 is one per processor.
    pub threads: usize,
    /// Name in the ledger; the file's, if not given.
    pub name: Option<String>,
}

impl EngineOptions {
    /// Opens a file, mapped into memory. What it is is told by its bytes. A manifest beside it (`NAME.json`) must fit.
    ///
    /// # Errors
    /// [`Error::Unfit`] with what does not fit, [`Error::Io`], [`Error::OverBudget`], and what ONNX Runtime or TensorRT
    /// says.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Engine> {
        let path = path.as_ref();
        let source = Source::map(path)?;
        let name = self.name.clone().or_else(|| Some(path.file_name()?.to_string_lossy().into_owned()));
        let beside = manifest::path_for(path);
        let manifest = match std::fs::read(&beside) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Io { action: "read", path: beside, source }),
        };
        self.load(source, name.unwrap_or_default(), Some(path), manifest.as_deref())
    }

    /// Opens what `reader` gives to its end; `label` is what errors call it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn read(&self, label: &str, reader: impl Read) -> Result<Engine> {
        let name = self.name.clone().unwrap_or_else(|| label.to_owned());
        self.load(Source::read(label, reader)?, name, None, None)
    }

    /// Opens an engine that is in memory, with its manifest if there is one.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn from_bytes(&self, label: &str, bytes: Vec<u8>, manifest: Option<&[u8]>) -> Result<Engine> {
        let name = self.name.clone().unwrap_or_else(|| label.to_owned());
        self.load(Source::owned(label, bytes), name, None, manifest)
    }

    /// A Rust function as an engine on the host.
    ///
    /// # Errors
    /// [`Error::OverBudget`].
    pub fn function(&self, function: impl Function) -> Result<Engine> {
        let name = self.name.clone().unwrap_or_else(|| "function".to_owned());
        let weights = self.ledger.enter(&Arc::from(name.as_str()), Class::Weights, function.weights_bytes())?;
        let signature = function.signature();
        let kind = Kind::Function { function: Arc::new(function), host: self.host.clone() };
        Ok(Engine::new(&name, signature, kind, self.ledger.clone(), weights))
    }

    fn load(&self, source: Source, name: String, path: Option<&Path>, manifest: Option<&[u8]>) -> Result<Engine> {
        let unfit = |fault: EngineFault| Error::Unfit { source_name: source.name.clone(), fault: Box::new(fault) };
        match plan_file::contents(&source).map_err(unfit)? {
            Contents::Onnx => self.load_onnx(source, &name, path),
            Contents::Plan { start } => {
                let manifest = fitting(manifest, &source).map_err(unfit)?;
                self.load_plan(&source, start, &name, manifest.as_ref())
            }
            Contents::Bundle => {
                let manifest = fitting(manifest, &source).map_err(unfit)?;
                bundle::open(self, &source, &name, path, manifest.as_ref())
            }
        }
    }

    #[cfg(feature = "onnx")]
    fn load_onnx(&self, source: Source, name: &str, path: Option<&Path>) -> Result<Engine> {
        let source_name = source.name.clone();
        super::onnx::load(self, &source_name, source.into_shared(), name, path.and_then(Path::parent))
    }

    #[cfg(not(feature = "onnx"))]
    fn load_onnx(&self, _: Source, _: &str, _: Option<&Path>) -> Result<Engine> {
        Err(Error::FeatureOff { what: "an ONNX model", feature: "onnx" })
    }

    #[cfg(feature = "tensorrt")]
    fn load_plan(&self, source: &Source, start: usize, name: &str, manifest: Option<&Manifest>) -> Result<Engine> {
        super::tensorrt::load(self, &source.name, &source[start..], name, manifest, &Formats::new())
    }

    #[cfg(not(feature = "tensorrt"))]
    fn load_plan(&self, _: &Source, _: usize, _: &str, _: Option<&Manifest>) -> Result<Engine> {
        Err(Error::FeatureOff { what: "a TensorRT engine", feature: "tensorrt" })
    }
}

/// The manifest of `source`, where there is one.
fn fitting(manifest: Option<&[u8]>, source: &Source) -> Result<Option<Manifest>, EngineFault> {
    let manifest = manifest.map(Manifest::parse).transpose()?;
    manifest.as_ref().map_or(Ok(()), |manifest| manifest.check_file(source))?;
    Ok(manifest)
}
