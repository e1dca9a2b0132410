//! The command line as a whole: the list of commands and the flags they all take.
//!
//! What a command takes is defined beside what it does, in `commands/`.

use crate::args::verbosity::VerbosityArgs;
use crate::commands::{
    bench, build, calibrate, compare, completions, detect, doctor, eval, inspect, man, plan, quantize, report, run,
    soak, watch, zoo,
};
use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a check failed (accuracy floor, memory that does not fit) or the work itself did
  2    wrong usage
  3    something is missing on this machine (library, driver, GPU, disk space)
  4    bad input file
  130  interrupted

Sizes are written 512MiB, 1GiB or 2000000. Data goes to stdout, everything else to stderr.";

/// From an exported ONNX model to a verified TensorRT engine, with the memory known before anything is deployed
#[derive(Debug, Parser)]
#[command(name = "trtforge", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// How much is told on stderr.
    #[command(flatten)]
    pub verbosity: VerbosityArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    Doctor(doctor::DoctorArgs),
    Build(Box<build::BuildArgs>),
    Quantize(Box<quantize::QuantizeArgs>),
    Calibrate(Box<calibrate::CalibrateArgs>),
    Inspect(inspect::InspectArgs),
    Plan(plan::PlanArgs),
    Run(Box<run::RunArgs>),
    Soak(Box<soak::SoakArgs>),
    Compare(Box<compare::CompareArgs>),
    Bench(Box<bench::BenchArgs>),
    Detect(Box<detect::DetectArgs>),
    Eval(Box<eval::EvalArgs>),
    Report(report::ReportArgs),
    Watch(watch::WatchArgs),
    Zoo(zoo::ZooArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Whether a failure should also be reported as JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Doctor(args) => args.json.json,
            Self::Build(args) => args.json.json,
            Self::Quantize(args) => args.json.json,
            Self::Calibrate(args) => args.json.json,
            Self::Inspect(args) => args.json.json,
            Self::Plan(args) => args.json.json,
            Self::Run(args) => args.json.json,
            Self::Soak(args) => args.json.json,
            Self::Compare(args) => args.json.json,
            Self::Bench(args) => args.wants_json(),
            Self::Detect(args) => args.json.is_some(),
            Self::Eval(args) => args.json.json,
            Self::Report(args) => args.json.json,
            Self::Watch(args) => args.json,
            Self::Zoo(args) => args.json.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
