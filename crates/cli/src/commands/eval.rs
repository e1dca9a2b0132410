//! `trtforge eval`: how well detectors find what is labelled, by COCO's rules, several beside each other.

mod arguments;
mod candidate;
mod categories;
mod latency;
mod report;

pub use arguments::EvalArgs;

use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use candidate::Candidate;
use report::Report;
use std::path::PathBuf;
use trtforge_builder::Progress;
use trtforge_vision::coco::Annotations;

/// What detectors are scored with.
pub struct Task {
    /// The labels.
    pub annotations: Annotations,
    /// The photographs, in the order of the labels' list.
    pub files: Vec<PathBuf>,
}

/// Scores every candidate, then reports.
pub fn run(args: &EvalArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let task = task(args, &terminal)?;
    if args.files.len() > 1 {
        terminal.step("open");
        args.files.iter().try_for_each(|file| Candidate::check(file, args, &task))?;
    }
    let mut candidates = Vec::new();
    for file in &args.files {
        candidates.push(Candidate::score(file, args, &task, &terminal, &cancel)?);
    }
    terminal.finish();
    let report = Report::new(args, &task, candidates);
    match args.json.json {
        true => standard_output::write_json(&report),
        false => standard_output::write(report.text()),
    }
}

fn task(args: &EvalArgs, progress: &dyn Progress) -> Result<Task> {
    let mut annotations = Annotations::read(&args.annotations)?;
    for problem in annotations.problems.iter() {
        progress.note(&format!(
            "{}: {}: {}; the first is {}",
            args.annotations.display(),
            problem.what,
            problem.count,
            problem.first
        ));
    }
    if let Some(count) = args.count {
        annotations.images.truncate(count as usize);
    }
    if annotations.images.is_empty() || annotations.truths.is_empty() {
        bail!(
            Failure::input(format!("{} has no labelled images to score with", args.annotations.display()))
                .hint("it needs `images` and `annotations` with boxes, as COCO's instances_val2017.json has them")
        );
    }
    if !args.images.is_dir() {
        bail!(
            Failure::input(format!("{} is no folder", args.images.display()))
                .hint("--images names the folder that the annotations' file names are in")
        );
    }
    let files = annotations.images.iter().map(|image| args.images.join(&image.file_name)).collect();
    Ok(Task { annotations, files })
}
