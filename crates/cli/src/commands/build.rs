//! `trtforge build`: ONNX model in, verified engine and its manifest out.

mod summary;

use crate::args::json::JsonArgs;
use crate::args::pipeline::{DebugArgs, PipelineArgs};
use crate::args::verbosity::VerbosityArgs;
use crate::cache_folder::form_memory;
use crate::progress::Terminal;
use crate::{interrupt, standard_output};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use trtforge_builder::{BuildOptions, ByteSize, Config, Progress, Stages};

/// Build a verified engine from an ONNX model
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Engine to write; its manifest goes beside it as OUT.engine.json
    #[arg(short, long, value_name = "OUT.engine")]
    output: PathBuf,
    /// Model and how it is rewritten.
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Engine flags.
    #[command(flatten)]
    engine: EngineArgs,
    /// Debugging flags.
    #[command(flatten)]
    debug: DebugArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// What only an engine has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Engine")]
struct EngineArgs {
    /// Scratch memory a layer may use
    #[arg(long, value_name = "SIZE")]
    workspace: Option<ByteSize>,
    /// Streams beside the main one that branches may run on; more may be faster and takes more memory
    #[arg(long, value_name = "N", default_value_t = 0)]
    aux_streams: u32,
    /// Do not compare the result with the model; the manifest then says nothing of accuracy
    #[arg(long)]
    no_verify: bool,
    /// Most memory for weights, activation, inputs and outputs together; a model that leaves its batch open is built at the largest that fits, and one that does not fit at
    /// all in stages
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<ByteSize>,
    /// Cut the network into stages that run one after another, so that memory holds one at a time; auto: as few as fit --memory-budget
    #[arg(long, value_name = "N|auto")]
    stages: Option<Stages>,
    /// Compute capabilities of the GPUs to build for
    #[arg(long, value_name = "8.6,8.9", value_delimiter = ',')]
    compute_capability: Vec<Capability>,
    /// Write the rewritten model as well
    #[arg(long, value_name = "FILE")]
    emit_onnx: Option<PathBuf>,
    /// Lay an int8 network out as it is, even where bands of rows or merged convolutions would take less memory
    #[arg(long)]
    no_lean: bool,
    /// Build even if nothing has changed since the last build
    #[arg(long)]
    force: bool,
}

/// A compute capability, such as `8.6`.
#[derive(Debug, Clone)]
struct Capability(String);

/// Why a text is no compute capability.
#[derive(Debug, thiserror::Error)]
#[error("write MAJOR.MINOR, such as 8.6; several are joined by commas")]
struct CapabilityError;

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let digits = |part: &str| !part.is_empty() && part.len() < 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let valid = text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor));
        if valid { Ok(Self(text.to_owned())) } else { Err(CapabilityError) }
    }
}

/// Builds and prints the summary.
pub fn run(args: &BuildArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let config = args.pipeline.model.config()?;
    let options = args.options(config.as_ref())?;
    let terminal = Arc::new(Terminal::new(verbosity));
    let progress: Arc<dyn Progress> = Arc::clone(&terminal) as _;
    let cancel = interrupt::install()?;
    if let Some(stage) = options.prepare.stop_after {
        trtforge_builder::prepare(&options.prepare, &*progress, &cancel)?;
        terminal.finish();
        progress.note(&format!("stopped after {stage}: no engine was built"));
        return Ok(());
    }
    let outcome = trtforge_builder::build(&options, &progress, &cancel)?;
    terminal.finish();
    match args.json.json {
        true => standard_output::write_json(&summary::json(&outcome)),
        false => standard_output::write(summary::text(&outcome)),
    }
}

impl BuildArgs {
    fn options(&self, config: Option<&Config>) -> Result<BuildOptions> {
        let engine = &self.engine;
        let mut options = BuildOptions::new(self.pipeline.prepare_options(config, &self.debug)?, &self.output);
        options.workspace = engine.workspace.or(config.and_then(|config| config.workspace));
        options.memory_budget = engine.memory_budget.or(config.and_then(|config| config.memory_budget));
        options.stages = engine.stages;
        options.compute_capabilities =
            engine.compute_capability.iter().map(|capability| capability.0.clone()).collect();
        options.accuracy_floor = options.prepare.int8.floor;
        options.prepare.int8.force = engine.force;
        options.emit_onnx.clone_from(&engine.emit_onnx);
        options.auxiliary_streams = engine.aux_streams;
        options.lean = !engine.no_lean;
        options.forms = if engine.force { Arc::default() } else { form_memory() };
        options.verify = !engine.no_verify;
        options.force = engine.force;
        Ok(options)
    }
}
