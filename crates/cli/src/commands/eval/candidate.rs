//! One detector that is scored.

use super::Task;
use super::arguments::EvalArgs;
use super::categories::CategoryOfClass;
use super::latency::{self, Latency};
use crate::args::detector::RunnerArgs;
use crate::detector::{Answer, Job, Lane, Network, Purpose, Settings, run as run_detector};
use anyhow::Result;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use trtforge_builder::samples::UnreadableTally;
use trtforge_builder::{CancelFlag, Config, Progress, Unreadable};
use trtforge_runtime::Class;
use trtforge_vision::coco::{Evaluation, Found, evaluate};
use trtforge_vision::{Decoder, Rejected};

/// What is known of a detector after it was scored.
pub struct Candidate {
    /// Its file.
    pub file: PathBuf,
    /// What it ran on.
    pub device: String,
    /// How its outputs were read.
    pub decoder: String,
    /// Photographs that could be read.
    pub images: usize,
    /// Those that could not.
    pub unreadable: Vec<Unreadable>,
    /// Boxes that made no sense.
    pub rejected: Rejected,
    /// The score.
    pub evaluation: Evaluation,
    /// How long a run takes.
    pub latency: Latency,
    /// Memory of a session with one run at a time.
    pub memory: Memory,
}

/// Bytes by class. ONNX Runtime does not tell what its activations take.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Memory {
    /// Of the engine.
    pub weights_bytes: u64,
    /// Between layers; nothing where it is not known.
    pub activation_bytes: Option<u64>,
    /// Inputs and outputs.
    pub io_bytes: u64,
}

impl Candidate {
    /// Runs it over all photographs and scores what it finds.
    ///
    /// # Errors
    /// It cannot be run, its outputs fit no decoder, or too many photographs cannot be read.
    pub fn score(
        file: &Path,
        args: &EvalArgs,
        task: &Task,
        progress: &dyn Progress,
        cancel: &CancelFlag,
    ) -> Result<Self> {
        let (path, config) = model_and_config(file, args)?;
        progress.step(&format!("eval {}", path.display()));
        let settings = Settings::new(&args.detector, config.as_ref(), Purpose::Score)?;
        let network = Network::open(&path, settings.clone(), &args.runner, task.files.len(), progress)?;
        let decoder = Lane::new(&network)?.decoder().cloned();
        let classes = decoder.as_ref().and_then(Decoder::classes);
        let names = network.settings.class_names(classes);
        let categories = CategoryOfClass::new(&task.annotations.categories, &names, classes, progress)?;
        let mut collected = Collected::new(task, args.max_unreadable);
        let job = Job { network: &network, files: &task.files, keep_pixels: false, cancel };
        run_detector(&job, |_| Ok(()), |answer| collected.add(answer, &categories, task, progress))?;
        let evaluation = collected.evaluate(task);
        let plan = network.engine.plan(&network.request(1))?;
        let memory = Memory {
            weights_bytes: plan[Class::Weights],
            activation_bytes: Some(plan[Class::Activation]).filter(|_| !network.engine.is_unified()),
            io_bytes: plan[Class::Io],
        };
        let device = network.engine.device().to_owned();
        let latency = alone(network, &path, settings, &args.runner)?;
        Ok(Self {
            file: path,
            device,
            decoder: decoder.map_or_else(String::new, |decoder| decoder.kind().to_string()),
            images: collected.images.len(),
            unreadable: collected.tally.images().cloned().collect(),
            rejected: collected.rejected,
            evaluation,
            latency,
            memory,
        })
    }
}

/// The latency of the network with all processors to itself; sessions beside each other had only a share of them.
fn alone(network: Network, path: &Path, settings: Settings, runner: &RunnerArgs) -> Result<Latency> {
    if network.lanes == 1 {
        return latency::measure(&network);
    }
    drop(network);
    latency::measure(&Network::open(path, settings, runner, 1, &())?)
}

/// The model behind an argument: itself, or what a config names, with that config.
fn model_and_config(file: &Path, args: &EvalArgs) -> Result<(PathBuf, Option<Config>)> {
    let shared = args.detector.config.as_deref().map(Config::read).transpose()?;
    let is_config = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if is_config {
        let config = Config::read(file)?;
        return Ok((config.model.clone(), Some(config)));
    }
    Ok((file.to_owned(), shared))
}

/// What comes out of the detector.
struct Collected {
    found: Vec<Found>,
    images: Vec<i64>,
    tally: UnreadableTally,
    rejected: Rejected,
}

impl Collected {
    fn new(task: &Task, max_unreadable: Option<usize>) -> Self {
        Self {
            found: Vec::new(),
            images: Vec::new(),
            tally: UnreadableTally::new(task.files.len(), max_unreadable),
            rejected: Rejected::default(),
        }
    }

    fn add(&mut self, answer: Answer, classes: &CategoryOfClass, task: &Task, progress: &dyn Progress) -> Result<()> {
        self.rejected += answer.rejected;
        for photo in &answer.photos {
            let image = task.annotations.images[photo.index].id;
            self.images.push(image);
            self.found.extend(photo.detections.iter().filter_map(|detection| {
                let (category, bounds) = (classes.get(detection.class)?, detection.bounds);
                let sides = [bounds.left, bounds.top, bounds.width(), bounds.height()].map(f64::from);
                Some(Found { image, category, bounds: sides, score: f64::from(detection.score) })
            }));
        }
        self.tally.add(answer.unreadable, progress)?;
        let done = self.images.len() + self.tally.images().count();
        progress.advance_steadily("images", done as u64, task.files.len() as u64);
        Ok(())
    }

    /// The score over the photographs that could be read.
    fn evaluate(&self, task: &Task) -> Evaluation {
        let seen: HashSet<i64> = self.images.iter().copied().collect();
        let truths: Vec<_> =
            task.annotations.truths.iter().filter(|truth| seen.contains(&truth.image)).copied().collect();
        let categories: Vec<i64> = task.annotations.categories.iter().map(|category| category.id).collect();
        evaluate(&truths, &self.found, &self.images, &categories)
    }
}
