//! `trtforge man`: manual pages, generated from the command line's own definition.

use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use std::path::{Path, PathBuf};

/// Print the manual page, or write one page per command
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write trtforge.1 and one page per command into this folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints or writes the pages.
pub fn run(args: &ManArgs) -> Result<()> {
    match &args.output {
        Some(folder) => write_pages(folder),
        None => print_page(),
    }
}

fn print_page() -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("cannot render the manual page")?;
    crate::standard_output::write(page)
}

fn write_pages(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))
}
