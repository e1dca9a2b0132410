//! `trtforge plan`: the memory an engine takes, or the least a model can take, and whether that fits.
//!
//! An engine's figures are the compiler's own, read from its manifest. A model's are computed from its shapes alone,
//! before anything is compiled, or by builds of every batch and precision asked for.

mod builds;
mod engine;
pub mod explained;
mod model;
mod pictures;
mod report;
mod timed;

use crate::args::json::JsonArgs;
use crate::args::precision::precision_parser;
use crate::args::shape::ShapeArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use crate::plots::PlotFiles;
use crate::standard_output;
use anyhow::{Result, bail};
use clap::Args;
use std::path::PathBuf;
use trtforge_builder::{ByteSize, Precision, format_bytes};

/// Say how much memory an engine takes, or a model by its shapes, and whether it fits
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Engine or model
    #[arg(value_name = "ENGINE|MODEL")]
    file: PathBuf,
    /// Memory there is; more than that is exit 1
    #[arg(long, value_name = "SIZE")]
    budget: Option<ByteSize>,
    /// Build a model in these precisions and tell what TensorRT takes [with --batches: fp16]
    #[arg(long, value_name = "fp32,fp16,int8", value_delimiter = ',', value_parser = precision_parser(&BUILT))]
    precision: Vec<Precision>,
    /// Build a model at these batches and tell what TensorRT takes [with --precision: 1,4,8,16]
    #[arg(long, value_name = "1,4,8", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024), conflicts_with = "batch")]
    batches: Vec<u32>,
    /// Cut a model into so many stages that run one after another, and tell what the one that takes most takes; 1 is one engine
    #[arg(long, value_name = "1,2,4", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    stages: Vec<u32>,
    /// Run what was built as well, on a GPU that takes it or else on the CPU, and tell milliseconds
    #[arg(long)]
    time: bool,
    /// Build again what was built before with the same figures asked for
    #[arg(long)]
    no_cache: bool,
    /// Draw memory over the network's depth and by class: both in a file, or each in a folder
    #[arg(long, value_name = "FILE.svg|DIR")]
    svg: Option<PathBuf>,
    /// Shapes to plan a model for.
    #[command(flatten)]
    shapes: ShapeArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// What a plan builds in; `auto` is one of them.
const BUILT: [Precision; 3] = [Precision::Fp32, Precision::Fp16, Precision::Int8];

impl PlanArgs {
    fn asks_for_builds(&self) -> bool {
        !(self.precision.is_empty() && self.batches.is_empty() && self.stages.is_empty()) || self.time
    }

    /// Begins the plots, before anything is built for them.
    fn plots(&self) -> Result<Option<PlotFiles>> {
        let Some(place) = &self.svg else { return Ok(None) };
        if place.canonicalize().is_ok_and(|place| self.file.canonicalize().is_ok_and(|file| file == place)) {
            bail!(Failure::usage(format!("{} is what is to be planned", place.display())));
        }
        PlotFiles::prepare(place, &pictures::NAMES).map(Some)
    }
}

impl ShapeArgs {
    fn is_given(&self) -> bool {
        self.batch.is_some() || self.has_ranges()
    }

    fn has_ranges(&self) -> bool {
        !(self.min_shape.is_empty() && self.opt_shape.is_empty() && self.max_shape.is_empty())
    }
}

/// What to do where a budget is missed.
const TAKES_LESS: &str = "a smaller batch or input takes less, and so do --precision int8 and --stages 4";

/// Prints the plan, then fails if it does not fit.
pub fn run(args: &PlanArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let kind = file_kind::of(&args.file)?;
    let plots = args.plots()?;
    let report = match kind {
        FileKind::Engine if args.shapes.is_given() || args.asks_for_builds() => {
            bail!(
                Failure::usage("an engine's shapes and precision were settled when it was built")
                    .hint("plan the .onnx to try others")
            )
        }
        FileKind::Engine => engine::plan(&args.file, args.budget)?,
        FileKind::Cache => bail!(file_kind::cache_refused(&args.file)),
        FileKind::Model if args.asks_for_builds() => return builds::run(args, plots, verbosity),
        FileKind::Model => model::plan(&args.file, &args.shapes, args.budget, verbosity)?,
    };
    if let Some(plots) = plots {
        plots.write(|plot| report.pictures().svg(plot))?;
    }
    match args.json.json {
        true => standard_output::write_json(&report)?,
        false => standard_output::write(report.text())?,
    }
    match args.budget {
        Some(budget) if report.total_bytes > budget.bytes() => bail!(
            Failure::check(format!("{} does not fit into {}", format_bytes(report.total_bytes), budget))
                .hint(TAKES_LESS)
        ),
        _ => Ok(()),
    }
}
