//! A detector: its engine, what it takes, and what is known of it.

use super::input::DetectorInputs;
use super::settings::Settings;
use crate::args::detector::RunnerArgs;
use crate::file_kind::{self, FileKind};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use trtforge_builder::Progress;
use trtforge_graph::Model;
use trtforge_runtime::{Engine, EngineOptions, Request, Session, SessionOptions, Shape, ShapeRange};
use trtforge_vision::{ClassNames, Decoder, OutputShape, Size, choose};

/// Runs of small networks on the CPU gain from each other only so far, and each holds activations of its own.
const MOST_LANES: usize = 4;
/// Runs under way in a lane: one computes while the next is written.
const SLOTS: usize = 2;

/// A detector that is open.
#[derive(Debug)]
pub struct Network {
    /// Its file.
    pub path: PathBuf,
    /// Its engine.
    pub engine: Engine,
    /// What it takes.
    pub inputs: DetectorInputs,
    /// What flags and config say about it.
    pub settings: Settings,
    /// Sessions that run side by side.
    pub lanes: usize,
    /// How its outputs are read; the first lane finds that out for all.
    decoder: OnceLock<Decoder>,
}

impl Network {
    /// Opens a model on the CPU or an engine on a GPU. On the CPU several sessions run side by side, each with its share
    /// of the processors, where there are enough of the `images` for all; that takes less time than one run after another on
    /// all of them.
    ///
    /// # Errors
    /// It cannot be opened, or takes something else than images.
    pub fn open(
        path: &Path,
        mut settings: Settings,
        runner: &RunnerArgs,
        images: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kind = file_kind::of(path)?;
        if kind == FileKind::Cache {
            bail!(file_kind::cache_refused(path));
        }
        let runs = images.div_ceil(runner.batch.unwrap_or(1) as usize);
        let lanes = match (kind, runner.threads) {
            (FileKind::Engine, _) => 1,
            (_, 0) => processors.min(MOST_LANES).min(runs / 2).max(1),
            (_, threads) => (processors / threads).clamp(1, MOST_LANES),
        };
        let threads = if runner.threads > 0 { runner.threads } else { (processors / lanes).max(1) };
        let options = EngineOptions { threads, gpu: runner.gpu, ..EngineOptions::default() };
        let engine = options.open(path)?;
        if kind == FileKind::Model && settings.classes.is_none() {
            settings.told = told_names(path)?;
        }
        let inputs = DetectorInputs::new(&engine, &settings.preprocess, runner.batch, progress)?;
        if !settings.has_preprocess {
            progress.note(
                "nothing says how photographs become the input: they are stretched to it, in RGB from 0 to 255; --config \
                 names a file whose `preprocess` block says otherwise",
            );
        }
        Ok(Self { path: path.to_owned(), engine, inputs, settings, lanes, decoder: OnceLock::new() })
    }

    /// A session for this network, `slots` runs under way at most.
    ///
    /// # Errors
    /// As for the engine.
    pub fn session(&self, slots: usize) -> Result<Session> {
        let options = SessionOptions { request: self.request(slots), ..SessionOptions::default() };
        Ok(self.engine.session(options)?)
    }

    /// The decoder of its outputs, of the shapes that `outputs` tells where nobody has asked before.
    ///
    /// # Errors
    /// As for `outputs`; no decoder fits, or several do.
    pub fn decoder(&self, outputs: impl FnOnce() -> Result<Vec<OutputShape>>) -> Result<&Decoder> {
        if let Some(decoder) = self.decoder.get() {
            return Ok(decoder);
        }
        let (outputs, input) = (outputs()?, self.inputs.input);
        let input = Size { width: input.width, height: input.height };
        let decoder = match self.settings.decoder {
            Some(kind) => Decoder::named(kind, &outputs, input)?,
            None => choose(&outputs, input)?,
        };
        Ok(self.decoder.get_or_init(|| decoder))
    }

    /// Slots of a lane's session.
    pub fn slots(&self) -> usize {
        SLOTS
    }

    /// What a session has to be ready for.
    pub fn request(&self, slots: usize) -> Request {
        let signature = self.engine.signature();
        let batch = Some(self.inputs.batch() as u64);
        if !signature.profiles.is_empty() {
            let open = signature.inputs.iter().any(|input| input.fixed_shape().is_none());
            return Request { batch: batch.filter(|_| open), slots, ..Request::default() };
        }
        let mut shapes = BTreeMap::new();
        let mut range = |name: &str, least: &[u64], most: &[u64]| {
            if let (Some(min), Some(max)) = (Shape::new(least), Shape::new(most)) {
                shapes.insert(name.to_owned(), ShapeRange { min, max });
            }
        };
        range(&self.inputs.image, &self.inputs.shape_of(1), &self.inputs.shape);
        if let Some((name, _)) = &self.inputs.size {
            range(name, &[self.inputs.shape_of(1)[0], 2], &[self.inputs.shape[0], 2]);
        }
        Request { shapes, slots, ..Request::default() }
    }
}

/// The names of classes that a model carries, as ultralytics writes them.
fn told_names(path: &Path) -> Result<Option<ClassNames>> {
    let model = Model::read(path)?;
    let names = model.proto().metadata_props.iter().find(|entry| entry.key() == "names");
    Ok(names.and_then(|entry| ClassNames::of_metadata(entry.value())))
}
