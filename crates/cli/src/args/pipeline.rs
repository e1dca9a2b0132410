//! Everything that says what is to be made of a model, up to the point where it is written or compiled.
//!
//! A config and flags may say the same thing; the flag wins.

use super::accuracy::AccuracyArgs;
use super::calibration::CalibrationArgs;
use super::model::ModelArgs;
use super::precision::PrecisionArgs;
use super::samples::SampleArgs;
use super::shape::ShapeArgs;
use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use trtforge_builder::int8::Int8Options;
use trtforge_builder::{CalibrationMethod, Config, Keep, Precision, PrepareOptions, Stage};

/// The model or its config, and how it is to be rewritten.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// Model or config.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Ranges flags.
    #[command(flatten)]
    pub ranges: RangesArgs,
    /// Precision flags.
    #[command(flatten)]
    pub precision: PrecisionArgs,
    /// Shape flags.
    #[command(flatten)]
    pub shapes: ShapeArgs,
    /// Sample flags.
    #[command(flatten)]
    pub samples: SampleArgs,
    /// Calibration flags.
    #[command(flatten)]
    pub calibration: CalibrationArgs,
    /// Cache flags.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// Accuracy flags.
    #[command(flatten)]
    pub accuracy: AccuracyArgs,
}

/// Where calibration is kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Calibration")]
pub struct CacheArgs {
    /// Calibration cache of int8: read where it exists, written where it does not; without it the config's
    #[arg(long, value_name = "FILE")]
    pub calibration_cache: Option<PathBuf>,
    /// Only calibrate: no tensor is repaired or left in fp16 to reach the accuracy floor
    #[arg(long)]
    pub no_search: bool,
}

/// Where the ranges of values come from that decide which nodes can be half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RangesSource {
    /// The sample inputs are run through the model
    Samples,
    /// Nothing is run: operators and constants decide alone
    None,
}

/// Flags about observed ranges.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Precision")]
pub struct RangesArgs {
    /// Where the ranges of values come from that fp16 depends on
    #[arg(long, value_name = "SOURCE", default_value = "samples")]
    pub ranges: RangesSource,
}

/// Flags to look into the pipeline.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Debugging")]
pub struct DebugArgs {
    /// Write the model as it is after STEP; repeatable
    #[arg(long, value_name = "STEP")]
    pub dump_after: Vec<Stage>,
    /// Folder for these models
    #[arg(long, value_name = "DIR", default_value = ".", requires = "dump_after")]
    pub dump_dir: PathBuf,
    /// Run the pipeline up to STEP and no further
    #[arg(long, value_name = "STEP")]
    pub stop_after: Option<Stage>,
}

impl PipelineArgs {
    /// Flags and config as one request.
    ///
    /// # Errors
    /// When flags contradict each other, or ask for what is not available.
    pub fn prepare_options(&self, config: Option<&Config>, debug: &DebugArgs) -> Result<PrepareOptions> {
        let model = self.model.path(config);
        let precision = self.precision.choose(config.and_then(|config| config.precision))?;
        let calibration = config.and_then(|config| config.calibration.as_ref());
        debug.check()?;
        let mut options = PrepareOptions::new(model, precision);
        options.shapes = self.shapes.request()?;
        options.batch = self.shapes.batch.map(u64::from);
        options.samples = self.samples.source(calibration.map(|calibration| calibration.images.clone()));
        options.sample_count = self.samples.calibration_count.or(calibration.and_then(|calibration| calibration.count));
        options.max_unreadable = self.samples.max_unreadable;
        options.keep = self.precision.keep.clone();
        options.half_io = self.precision.half_io;
        options.observe_ranges = self.ranges.ranges == RangesSource::Samples;
        options.dump_after = debug.dump_after.clone();
        options.dump_folder = debug.dump_dir.clone();
        options.stop_after = debug.stop_after;
        let configured_floor = config.and_then(|config| config.quantize.accuracy_floor);
        options.int8 = Int8Options {
            method: self
                .calibration
                .calibration_method
                .or(calibration.and_then(|calibration| calibration.method))
                .unwrap_or(CalibrationMethod::Auto),
            cache: self
                .cache
                .calibration_cache
                .clone()
                .or_else(|| calibration.and_then(|calibration| calibration.cache.clone())),
            force: false,
            threads: self.calibration.threads.map_or(0, usize::from),
            floor: self.accuracy.floor()?.or(configured_floor),
            search: !self.cache.no_search,
            ..Int8Options::default()
        };
        if let Some(config) = config {
            add_config(&mut options, config)?;
        }
        Ok(options)
    }
}

/// Adds what only a config can say, and what no flag has said.
fn add_config(options: &mut PrepareOptions, config: &Config) -> Result<()> {
    options.preprocess.clone_from(&config.preprocess);
    config.shapes.iter().for_each(|(input, entry)| options.shapes.add_entry(input, entry));
    for (precision, patterns) in [("fp32", &config.quantize.keep_fp32), ("fp16", &config.quantize.keep_fp16)] {
        // In other precisions there is nothing that FP16 would have to be kept from.
        if precision == "fp16" && !matches!(options.precision, Precision::Int8 | Precision::Auto) {
            continue;
        }
        for pattern in patterns {
            options.keep.push(format!("{precision}:{pattern}").parse::<Keep>().map_err(|error| {
                Failure::input(format!("a pattern of the config's keep_{precision} is no regular expression"))
                    .because(error)
            })?);
        }
    }
    Ok(())
}

impl DebugArgs {
    fn check(&self) -> Result<()> {
        let without_model = self.dump_after.iter().chain(&self.stop_after).find(|stage| !stage.has_model());
        if let Some(stage) = without_model {
            let names: Vec<_> = Stage::all().filter(|stage| stage.has_model()).map(Stage::name).collect();
            bail!(
                Failure::usage(format!("there is no model to write or stop at after `{stage}`"))
                    .hint(format!("the steps before it are {}", names.join(", ")))
            );
        }
        Ok(())
    }
}
