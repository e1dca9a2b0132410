//! The flags of `trtforge detect`.

use crate::args::detector::{DetectorArgs, RunnerArgs};
use crate::args::monitor::MonitorArgs;
use clap::Args;
use std::path::PathBuf;

/// Find objects in photographs with a model on the CPU, or an engine on a GPU
#[derive(Debug, Args)]
pub struct DetectArgs {
    /// Engine or model, or a config that names one
    #[arg(value_name = "ENGINE|MODEL|CONFIG.yaml")]
    pub file: PathBuf,
    /// Photographs: files, folders, patterns such as 'photos/*.jpg', @FILE or - (stdin) for a list with one path a line
    #[arg(value_name = "IMAGES", required = true)]
    pub images: Vec<String>,
    /// Folder for the photographs with boxes drawn into them, under their own names; files of these names in it are replaced
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// File for the boxes in COCO's form of results, with file and class names; - is stdout
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write COCO's own category ids, 1 to 90, in place of numbers of classes from 0
    #[arg(long, requires = "json")]
    pub coco_ids: bool,
    /// How outputs become boxes.
    #[command(flatten)]
    pub detector: DetectorArgs,
    /// How the model is run.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// What is recorded.
    #[command(flatten)]
    pub monitor: MonitorArgs,
}
