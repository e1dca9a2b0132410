//! `trtforge inspect`: what a model, an engine or a calibration cache is, without running it.
//!
//! A model's weights are counted by their declared types and never read, so a large file costs no more than a small
//! one with as many nodes.

mod audit;
mod cache;
pub mod engine;
mod model;

use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

/// Say what a model, an engine or a calibration cache is: tensors, nodes, precision, memory
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Model, engine or calibration cache
    #[arg(value_name = "MODEL|ENGINE|CACHE")]
    file: PathBuf,
    /// Add a line for every node of the model
    #[arg(long)]
    nodes: bool,
    /// Compare the engine's content with its manifest
    #[arg(long)]
    verify: bool,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Prints what the file is.
pub fn run(args: &InspectArgs) -> Result<()> {
    match file_kind::of(&args.file)? {
        FileKind::Cache if args.nodes || args.verify => {
            bail!(Failure::usage("--nodes needs a model and --verify an engine; this is a calibration cache"))
        }
        FileKind::Cache => cache::inspect(&args.file, args.json),
        FileKind::Engine if args.nodes => {
            bail!(
                Failure::usage("--nodes needs a model: an engine's layers are not readable")
                    .hint("inspect the .onnx it was built from")
            )
        }
        FileKind::Engine => engine::inspect(&args.file, args.verify, args.json),
        FileKind::Model if args.verify => {
            bail!(Failure::usage("--verify needs an engine: only engines have a manifest"))
        }
        FileKind::Model => model::inspect(&args.file, args.nodes, args.json),
    }
}
