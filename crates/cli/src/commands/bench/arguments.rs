//! The flags of `trtforge bench`.

use super::compare::CompareArgs;
use crate::args::duration;
use crate::args::json::JsonArgs;
use crate::args::monitor::MonitorArgs;
use crate::failure::Failure;
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trtforge_builder::{ByteSize, NamedShape};

const AFTER_HELP: &str = "\
A closed loop starts a run as soon as one ends and tells the highest throughput; with --rate an open
loop follows it, which sends requests at random times whatever became of earlier ones and tells the
latency that users see. Every combination of batch, streams, graph, transfers and rate is measured.";

/// Measure throughput, latency and memory of a model on the CPU or an engine on a GPU
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = AFTER_HELP)]
pub struct BenchArgs {
    /// What to do with reports.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,
    /// What to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// What is done with reports.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    Compare(CompareArgs),
}

impl BenchArgs {
    /// Whether a failure should also be reported as JSON.
    pub fn wants_json(&self) -> bool {
        match &self.command {
            Some(BenchCommand::Compare(args)) => args.json.json,
            None => self.measure.json.json,
        }
    }
}

/// A flag that can be measured both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Graph {
    Off,
    On,
    Both,
}

/// Whether copies between host and device are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transfers {
    With,
    Without,
    Both,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Engine or model
    #[arg(value_name = "ENGINE|MODEL", required = true)]
    file: Option<PathBuf>,
    /// Inferences per run, where the model leaves that open [default: what it fixes or allows most, or 1]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub batch: Vec<u64>,
    /// Runs under way at a time; on the CPU they wait for one another
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1", value_parser = parse_streams)]
    pub streams: Vec<usize>,
    /// Also send requests at random times, so many per second in the mean
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_rate)]
    pub rate: Vec<f64>,
    /// Longest that a request of --rate waits for others to share a run with
    #[arg(long, value_name = "TIME", default_value = "2ms", value_parser = duration::parse)]
    pub max_delay: Duration,
    /// Measure each for this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub duration: Duration,
    /// Run before that until throughput has settled, and at most this long; 0s is not at all
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub warmup: Duration,
    /// Replay runs from CUDA graphs, on a GPU
    #[arg(long, value_enum, default_value_t = Graph::Off, value_name = "WHICH")]
    pub cuda_graph: Graph,
    /// Copy inputs and outputs between host and GPU
    #[arg(long, value_enum, default_value_t = Transfers::With, value_name = "WHICH")]
    pub transfers: Transfers,
    /// Shape of an input that the model leaves open; once per input
    #[arg(long, value_name = "NAME=1x3x640x640")]
    pub shape: Vec<NamedShape>,
    /// Threads within an operator, on the CPU [default: one per processor]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gpu: u32,
    /// Most device memory for weights, activations, inputs and outputs together
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<ByteSize>,
    /// Seed of made-up inputs and of arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write the report as JSON, for `trtforge bench compare`
    #[arg(short, long, value_name = "REPORT.json")]
    pub output: Option<PathBuf>,
    /// Plot throughput against p99 and the distribution of latency: one file, or one for each in a folder
    #[arg(long, value_name = "FILE.svg|DIR")]
    pub svg: Option<PathBuf>,
    /// Files for a recording.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

impl MeasureArgs {
    /// What to measure.
    ///
    /// # Errors
    /// When nothing was given, which the command line refuses before.
    pub fn file(&self) -> Result<&Path> {
        self.file.as_deref().ok_or_else(|| Failure::usage("no model or engine is given").into())
    }
}

fn parse_streams(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|it| (1..=64).contains(it)).ok_or_else(|| "write a number from 1 to 64".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (1e-3..=1e6).contains(rate));
    rate.ok_or_else(|| "write requests per second, from 0.001 to 1000000".to_owned())
}
