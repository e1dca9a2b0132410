//! One detector that is scored.

use super::Task;
use super::arguments::EvalArgs;
use super::categories::CategoryOfClass;
use super::latency::{self, Latency};
use crate::args::detector::RunnerArgs;
use crate::detector::{Answer, Job, Lane, Network, Purpose, Settings, model_and_config, run as run_detector};
use anyhow::Result;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use trtforge_builder::samples::UnreadableTally;
use trtforge_builder::{CancelFlag, Config, Progress, Unreadable};
use trtforge_runtime::Class;
use trtforge_vision::coco::{Evaluation, Found, evaluate};
use trtforge_vision::{DecoderKind, Rejected};

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
    /// Objects that score more than 1.
    pub above_one: u64,
    /// Photographs of another size than the labels say.
    pub other_size: OtherSize,
    /// The score.
    pub evaluation: Evaluation,
    /// How long a run takes.
    pub latency: Latency,
    /// Memory of a session with one run at a time.
    pub memory: Memory,
}

/// Photographs of another size than the labels say, so that labelled boxes may not be where the objects are.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct OtherSize {
    /// How many.
    pub count: u64,
    /// The first, with both sizes.
    pub first: Option<String>,
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
    /// Opens it and finds out how its outputs are read, so that a candidate which cannot be scored is told before others are.
    ///
    /// # Errors
    /// As for [`Candidate::score`], as far as no photograph is needed.
    pub fn check(file: &Path, args: &EvalArgs, task: &Task) -> Result<()> {
        let (path, config) = model_and_config(file, &args.detector)?;
        let network = open(&path, config.as_ref(), args, 1, &())?;
        join(&network, task, &()).map(drop)
    }

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
        let (path, config) = model_and_config(file, &args.detector)?;
        progress.step(&format!("eval {}", path.display()));
        let network = open(&path, config.as_ref(), args, task.files.len(), progress)?;
        let (kind, categories) = join(&network, task, progress)?;
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
        let latency = alone(network, &args.runner)?;
        Ok(Self {
            file: path,
            device,
            decoder: kind.to_string(),
            images: collected.images.len(),
            unreadable: collected.tally.images().cloned().collect(),
            rejected: collected.rejected,
            above_one: collected.above_one,
            other_size: collected.other_size,
            evaluation,
            latency,
            memory,
        })
    }
}

/// The latency of the network with all processors to itself; sessions beside each other had only a share of them.
fn alone(network: Network, runner: &RunnerArgs) -> Result<Latency> {
    if network.lanes == 1 {
        return latency::measure(&network);
    }
    let (path, settings) = (network.path.clone(), network.settings.clone());
    drop(network);
    latency::measure(&Network::open(&path, settings, runner, 1, &())?)
}

fn open(
    path: &Path,
    config: Option<&Config>,
    args: &EvalArgs,
    images: usize,
    progress: &dyn Progress,
) -> Result<Network> {
    Network::open(path, Settings::new(&args.detector, config, Purpose::Score)?, &args.runner, images, progress)
}

/// How the outputs of a network are read, and which category each of its classes is.
fn join(network: &Network, task: &Task, progress: &dyn Progress) -> Result<(DecoderKind, CategoryOfClass)> {
    let decoder = Lane::new(network)?.decoder();
    let classes = decoder.classes();
    let names = network.settings.class_names(classes);
    Ok((decoder.kind(), CategoryOfClass::new(&task.annotations.categories, &names, classes, progress)?))
}

/// What comes out of the detector.
struct Collected {
    found: Vec<Found>,
    images: Vec<i64>,
    tally: UnreadableTally,
    rejected: Rejected,
    above_one: u64,
    other_size: OtherSize,
}

impl Collected {
    fn new(task: &Task, max_unreadable: Option<usize>) -> Self {
        Self {
            found: Vec::new(),
            images: Vec::new(),
            tally: UnreadableTally::new(task.files.len(), max_unreadable),
            rejected: Rejected::default(),
            above_one: 0,
            other_size: OtherSize::default(),
        }
    }

    fn add(&mut self, answer: Answer, classes: &CategoryOfClass, task: &Task, progress: &dyn Progress) -> Result<()> {
        self.rejected += answer.rejected;
        self.above_one += answer.above_one();
        for photo in &answer.photos {
            let labelled = &task.annotations.images[photo.index];
            if let Some(size) = labelled.size.filter(|size| *size != photo.size) {
                self.other_size.count += 1;
                let first = || format!("{}, {} and not {size}", labelled.file_name, photo.size);
                self.other_size.first.get_or_insert_with(first);
            }
            let image = labelled.id;
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
