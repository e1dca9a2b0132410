//! `trtforge report`: everything known of a build as one HTML page that needs nothing else to be read.
//!
//! The page is made from the manifest, the model where it is still the one that was built from, and what was measured since. The same input gives the same bytes.

mod accuracy;
mod elements;
mod glance;
mod measured;
mod memory;
mod page;
mod precision;
mod provenance;
mod sources;

use crate::args::json::JsonArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::standard_output;
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sources::Sources;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use trtforge_builder::{Manifest, Progress, StagedFile};

/// How every page begins; an older page is known by it.
const MARK: &str = r#"<meta name="generator" content="trtforge report">"#;
/// The mark is within so many bytes.
const HEAD_BYTES: u64 = 1024;

/// Write everything known of a build as one HTML page
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Engine, with its manifest beside it
    #[arg(value_name = "ENGINE")]
    engine: PathBuf,
    /// Page to write
    #[arg(short, long, value_name = "REPORT.html")]
    output: PathBuf,
    /// Report of `trtforge bench` to include
    #[arg(long, value_name = "FILE.json")]
    bench: Option<PathBuf>,
    /// Output of `trtforge soak --json` to include
    #[arg(long, value_name = "FILE.json")]
    soak: Option<PathBuf>,
    /// Recording of `--monitor FILE.json` to include
    #[arg(long, value_name = "FILE.json")]
    monitor: Option<PathBuf>,
    /// Replace a file that is no report
    #[arg(long)]
    force: bool,
    /// Form of the summary.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    bytes: usize,
    sections: Vec<&'static str>,
    /// Why the model's part is missing, where it is.
    model: Option<String>,
}

/// Writes the page.
pub fn run(args: &ReportArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let terminal = Terminal::new(verbosity);
    refuse_to_replace(args)?;
    let staged = StagedFile::create(&args.output)?;
    let sources = Sources::gather(args, &terminal)?;
    terminal.step("write");
    let page = page::Page::of(&sources)?;
    let text = page.html();
    put(staged, &text)?;
    terminal.finish();
    if let Err(why) = &sources.model {
        terminal.note(&format!("nothing of the model is in the report: {why}"));
    }
    let written = Written {
        path: args.output.clone(),
        bytes: text.len(),
        sections: page.sections().collect(),
        model: sources.model.err(),
    };
    match args.json.json {
        true => standard_output::write_json(&written),
        false => standard_output::write(format!("{}\n", args.output.display())),
    }
}

fn put(mut staged: StagedFile, text: &str) -> Result<()> {
    let written = staged.file().write_all(text.as_bytes());
    written.with_context(|| format!("cannot write {}", staged.target().display()))?;
    Ok(staged.commit()?)
}

/// A report may replace a report. What it is made from is never replaced; anything else only where that is asked for.
fn refuse_to_replace(args: &ReportArgs) -> Result<()> {
    let output = &args.output;
    let shown = output.display();
    let read = [&args.bench, &args.soak, &args.monitor].into_iter().flatten().cloned();
    let manifest = Manifest::path_for(&args.engine);
    if let Some(source) = read.chain([args.engine.clone(), manifest]).find(|source| is_same(source, output)) {
        bail!(Failure::usage(format!("{shown} is what the report is made from ({})", source.display())));
    }
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        bail!(Failure::usage(format!("there is no folder {} to write the report to", folder.display())));
    }
    if output.is_dir() {
        bail!(Failure::usage(format!("{shown} is a folder")).hint("name a file, such as report.html"));
    }
    if !args.force && output.exists() && !is_report(output) {
        bail!(Failure::usage(format!("{shown} is there already, and is no report")).hint("--force replaces it"));
    }
    Ok(())
}

fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn is_report(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(MARK)
}
