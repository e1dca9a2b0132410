//! The flags of `trtforge eval`.

use crate::args::detector::{DetectorArgs, RunnerArgs};
use crate::args::json::JsonArgs;
use clap::Args;
use std::path::PathBuf;

/// Score detectors on labelled photographs: COCO's average precision, with latency and memory beside
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Engines, models, or configs that name one; the first is what the others are compared with
    #[arg(value_name = "ENGINE|MODEL|CONFIG.yaml", required = true)]
    pub files: Vec<PathBuf>,
    /// Labels in COCO's form
    #[arg(short, long, value_name = "COCO.json")]
    pub annotations: PathBuf,
    /// Folder of the photographs that the labels name
    #[arg(short, long, value_name = "DIR")]
    pub images: PathBuf,
    /// Score on the first N photographs only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Photographs that may be unreadable before it is an error [default: one in twenty, at least 1]
    #[arg(long, value_name = "N")]
    pub max_unreadable: Option<usize>,
    /// How outputs become boxes.
    #[command(flatten)]
    pub detector: DetectorArgs,
    /// How the model is run.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}
