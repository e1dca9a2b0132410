//! `calibrate`: model and images in, a calibration cache out.
//!
//! The pass over the images is the expensive part. What it sees is kept beside the cache, so that an interrupted calibration continues where it was and another
//! method needs no pass at all.

use super::saved::{Saved, histograms_path, load_observation};
use super::subject::Subject;
use super::{Binding, CacheHeader, CalibrationCache, Method, Observation, Sidecar, SkippedImage, scale_of, threshold};
use crate::config::CalibrationMethod;
use crate::output::{OutputLock, check_clashes};
use crate::prepare::PrepareOptions;
use crate::samples::{SampleSource, Unreadable};
use crate::{CancelFlag, Error, Progress, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A calibration.
#[derive(Clone, Debug)]
pub struct CalibrateOptions {
    /// Model, shapes and samples. Precision and last step are set by [`calibrate`].
    pub prepare: PrepareOptions,
    /// The cache to write; its sidecar and the histograms lie beside it.
    pub output: PathBuf,
    /// How thresholds are chosen.
    pub method: CalibrationMethod,
    /// Workers; 0 is one per processor, at most 16.
    pub threads: usize,
    /// Whether histograms that were made from something else are thrown away.
    pub force: bool,
}

impl CalibrateOptions {
    /// A calibration by the default method.
    pub fn new(prepare: PrepareOptions, output: impl Into<PathBuf>) -> Self {
        CalibrateOptions { prepare, output: output.into(), method: CalibrationMethod::Auto, threads: 0, force: false }
    }
}

/// What a calibration did.
#[derive(Clone, Debug)]
pub struct CalibrationOutcome {
    /// The cache.
    pub cache: PathBuf,
    /// The file with the histograms.
    pub histograms: PathBuf,
    /// The method, where it was `auto` the one that served.
    pub method: Method,
    /// Every tensor, in the order of computation.
    pub tensors: Vec<CalibratedTensor>,
    /// Images (or rows of arrays) that count.
    pub samples: usize,
    /// What they are called: `images` or `samples`.
    pub unit: &'static str,
    /// Those of them that an earlier run had seen.
    pub earlier: usize,
    /// Images that were passed over.
    pub unreadable: Vec<Unreadable>,
    /// Seconds that the pass over the images took; 0 where none was needed.
    pub pass_seconds: f64,
    /// Seconds in all.
    pub seconds: f64,
}

/// A tensor and its scale.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CalibratedTensor {
    /// Its name.
    pub name: String,
    /// Least element seen.
    pub min: f32,
    /// Greatest element seen.
    pub max: f32,
    /// The magnitude that becomes the largest integer; 0 where the tensor is dead.
    pub threshold: f32,
    /// Share of the elements that are exactly zero.
    pub zeros: f64,
}

impl CalibratedTensor {
    /// Largest magnitude.
    pub fn amax(&self) -> f32 {
        self.min.abs().max(self.max.abs())
    }

    /// Whether every element was zero on every sample.
    pub fn is_dead(&self) -> bool {
        self.amax() == 0.0
    }
}

impl CalibrationOutcome {
    /// Images per second of the pass, where there was one.
    pub fn samples_per_second(&self) -> Option<f64> {
        (self.pass_seconds > 0.0).then(|| (self.samples - self.earlier) as f64 / self.pass_seconds)
    }

    /// Whether the histograms of an earlier run answered and the model was not run.
    pub fn is_reused(&self) -> bool {
        self.earlier == self.samples
    }

    fn write(&self, asked: CalibrationMethod, binding: Binding) -> Result<()> {
        let (major, minor, patch) = CACHE_VERSION;
        let header = CacheHeader::new(&CacheHeader::version_number(major, minor, patch), asked);
        let scales = self.tensors.iter().map(|tensor| (tensor.name.clone(), scale_of(tensor.threshold)));
        let cache = CalibrationCache::new(header, scales)
            .map_err(|source| Error::CalibrationCache { path: self.cache.clone(), source: Box::new(source) })?;
        let mut sidecar = Sidecar::new(Binding { method: Some(self.method.to_string()), ..binding }, &cache);
        let skipped = |image: &Unreadable| SkippedImage { path: image.file.clone(), reason: image.reason.clone() };
        sidecar.skipped = self.unreadable.iter().map(skipped).collect();
        sidecar.write_with(&cache, &self.cache)
    }

    /// The tensors that were zero throughout.
    pub fn dead(&self) -> impl Iterator<Item = &CalibratedTensor> {
        self.tensors.iter().filter(|tensor| tensor.is_dead())
    }
}

/// Runs a model on samples and writes its calibration cache, the sidecar that binds it, and the histograms behind it. A model with an open batch dimension runs at
/// batch 1; the result does not depend on the batch anyway.
///
/// # Errors
/// Those of the pipeline and of [`super::observe`]; [`Error::OtherHistograms`]; [`Error::CalibrationInterrupted`] where `cancel` was set during the pass, whose progress is
/// kept then. The cache is written whole or not at all.
pub fn calibrate(
    options: &CalibrateOptions,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<CalibrationOutcome> {
    let start = Instant::now();
    if matches!(options.prepare.samples, SampleSource::Synthetic) {
        return Err(Error::NoCalibrationData);
    }
    let histograms = histograms_path(&options.output);
    let targets = [options.output.clone(), Sidecar::path_for(&options.output), histograms.clone()];
    check_clashes(&options.prepare.model, &targets)?;
    let _lock = OutputLock::acquire(&options.output)?;
    let subject = Subject::open(options, progress, cancel)?;
    let begun = begin(&histograms, &subject, options.force, progress)?;
    let (earlier, needed) = (begun.samples(), begun.batches() < subject.samples.len());
    let pass_start = Instant::now();
    let observation = subject.observe(begun, options.threads, &histograms, progress, cancel)?;
    let pass_seconds = if needed { pass_start.elapsed().as_secs_f64() } else { 0.0 };
    let method = Method::of(options.method).unwrap_or(AUTO);
    let tensors = choose_thresholds(&subject.tensors, &observation, method);
    let outcome = CalibrationOutcome {
        cache: options.output.clone(),
        histograms,
        method,
        tensors,
        samples: observation.samples(),
        unit: subject.samples.unit(),
        earlier,
        unreadable: observation.unreadable().cloned().collect(),
        pass_seconds,
        seconds: start.elapsed().as_secs_f64(),
    };
    outcome.write(options.method, subject.binding)?;
    Ok(outcome)
}

/// What `auto` writes into a cache: the method that a build's search starts from. The search chooses for each tensor anew, from the histograms beside the cache.
const AUTO: Method = Method::Mse;

/// The release of TensorRT that the cache's first line names: the last with a calibrator.
const CACHE_VERSION: (u32, u32, u32) = (10, 14, 1);

/// What an earlier run saw of the same subject; nothing where there was none.
fn begin(path: &Path, subject: &Subject, force: bool, progress: &dyn Progress) -> Result<Observation> {
    let saved = match load_observation(path)? {
        Saved::Nothing => return Ok(Observation::default()),
        Saved::Damaged => {
            progress.note(&format!("{} is damaged or of another version; starting anew", path.display()));
            return Ok(Observation::default());
        }
        Saved::Observation(saved) => *saved,
    };
    let (binding, observation) = saved;
    let differences = subject.differences(&binding, &observation);
    if differences.is_empty() {
        return Ok(observation);
    }
    if !force {
        return Err(Error::OtherHistograms { path: path.to_owned(), differences });
    }
    Ok(Observation::default())
}

fn choose_thresholds(tensors: &[String], observation: &Observation, method: Method) -> Vec<CalibratedTensor> {
    let choose = |tensor: &String| {
        let histogram = observation.histogram(tensor).cloned().unwrap_or_default();
        let total = histogram.total().max(1);
        CalibratedTensor {
            name: tensor.clone(),
            min: histogram.min(),
            max: histogram.max(),
            threshold: threshold(&histogram, method),
            zeros: histogram.zeros() as f64 / total as f64,
        }
    };
    tensors.iter().map(choose).collect()
}
