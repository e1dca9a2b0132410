//! `trtforge inspect`: what a model or an engine is, without running it.
//!
//! A model's weights are counted by their declared types and never read, so a large file costs no more than a small
//! one with as many nodes.

mod audit;
pub mod engine;
mod model;

use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;

/// Say what a model or an engine is: tensors, nodes, precision, memory
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Model or engine
    #[arg(value_name = "MODEL|ENGINE")]
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
