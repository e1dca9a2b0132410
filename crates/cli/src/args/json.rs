//! The `--json` flag of every command that reports.

use clap::Args;

/// Choice between a report for people and one for programs.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct JsonArgs {
    /// Print the report as one JSON document; a failure also ends in one line of JSON on stderr
    #[arg(long)]
    pub json: bool,
}
