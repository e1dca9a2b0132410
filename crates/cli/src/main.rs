//! The `trtforge` command line: parse, call the library, print, exit code.
//!
//! Nothing is computed here. Each command lives in its own file under `commands/`, each group of flags in its own
//! file under `args/`, and `failure` is the only place that knows exit codes.

#![deny(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod accuracy;
mod args;
mod cache_folder;
mod cli;
mod commands;
#[allow(unsafe_code)]
mod counted_allocations;
mod detector;
mod failure;
mod file_kind;
mod interrupt;
mod monitored;
mod plots;
mod progress;
mod recording_files;
mod recording_plot;
mod standard_output;
mod table;
mod typed_model;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    trtforge_onnxruntime::disable_usage_reporting();
    failure::install_panic_hook();
    let cli = cli::Cli::parse();
    let json = cli.command.wants_json();
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, json),
    }
}
