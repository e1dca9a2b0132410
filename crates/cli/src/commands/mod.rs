//! One file per command: its flags and what it does with the libraries.

use crate::cli::{Cli, Command};
use anyhow::Result;

pub mod bench;
pub mod build;
pub mod calibrate;
pub mod compare;
pub mod completions;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod inspect;
pub mod man;
pub mod plan;
pub mod quantize;
pub mod report;
pub mod run;
pub mod soak;
pub mod watch;
pub mod zoo;

/// Runs the command that was asked for.
///
/// # Errors
/// Whatever went wrong, for `failure` to report.
pub fn run(cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Doctor(args) => doctor::run(args),
        Command::Build(args) => build::run(args, &cli.verbosity),
        Command::Quantize(args) => quantize::run(args, &cli.verbosity),
        Command::Calibrate(args) => calibrate::run(args, &cli.verbosity),
        Command::Inspect(args) => inspect::run(args),
        Command::Plan(args) => plan::run(args, &cli.verbosity),
        Command::Report(args) => report::run(args, &cli.verbosity),
        Command::Run(args) => run::run(args, &cli.verbosity),
        Command::Soak(args) => soak::run(args, &cli.verbosity),
        Command::Bench(args) => bench::run(args, &cli.verbosity),
        Command::Compare(args) => compare::run(args, &cli.verbosity),
        Command::Detect(args) => detect::run(args, &cli.verbosity),
        Command::Eval(args) => eval::run(args, &cli.verbosity),
        Command::Watch(args) => watch::run(args, &cli.verbosity),
        Command::Zoo(args) => zoo::run(args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}
