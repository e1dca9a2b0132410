//! How much is told on stderr, and in which form.

use clap::{Args, ValueEnum};

/// How long work shows where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    Auto,
    Bar,
    Plain,
    None,
}

/// Flags of every command that say how much is told on stderr.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct VerbosityArgs {
    /// Tell more on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// Tell nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How long work shows where it is; auto is a bar on a terminal, plain lines otherwise
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto, value_name = "STYLE")]
    pub progress: ProgressStyle,
}
