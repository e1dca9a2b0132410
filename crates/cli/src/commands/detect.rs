//! `trtforge detect`: photographs in, boxes out, as pictures and in COCO's form.
//!
//! Photographs are read and written on other threads while the network runs. What is found goes to its file at once, so
//! memory does not grow with the number of photographs.

mod arguments;
mod files;
mod pictures;
mod report;
mod results;

pub use arguments::DetectArgs;

use crate::args::verbosity::VerbosityArgs;
use crate::detector::{Job, Lane, Network, Purpose, Settings, model_and_config, run as run_detector};
use crate::failure::Failure;
use crate::monitored::Monitored;
use crate::progress::Terminal;
use crate::table::grouped;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use pictures::Pictures;
use report::Report;
use results::{Results, Unread};
use std::path::PathBuf;
use std::time::Instant;
use trtforge_builder::{Error, Progress, counted};

fn is_cancelled(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(Error::Cancelled)))
}

/// What stays of a run that was stopped when it had written something.
fn interrupted(report: &Report, images: usize) -> anyhow::Error {
    let (done, all) = (grouped(report.files() as u64), counted(images, "image"));
    let message =
        format!("interrupted after {done} of {all}; pictures that were drawn stay, and no file of boxes was written");
    Failure::interrupted(message).into()
}

/// Refuses a file for the boxes that would replace something that is read, or the recording.
fn check_json(args: &DetectArgs, model: &PathBuf, files: &[PathBuf]) -> Result<()> {
    let Some(json) = &args.json else { return Ok(()) };
    if args.monitor.monitor.iter().any(|file| file.path == *json) {
        bail!(Failure::usage(format!("{} is to hold the boxes and the recording", json.display())));
    }
    let Ok(place) = json.canonicalize() else { return Ok(()) };
    let photographs = files.iter().filter(|file| file.file_name() == json.file_name());
    let mut read =
        [model, &args.file].into_iter().chain(&args.detector.config).chain(&args.detector.classes).chain(photographs);
    if let Some(file) = read.find(|file| file.canonicalize().is_ok_and(|file| file == place)) {
        let message = format!("writing the boxes to {} would replace what is read", file.display());
        bail!(Failure::usage(message).hint("choose another file with --json"));
    }
    Ok(())
}

/// Detects everything, then reports.
pub fn run(args: &DetectArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let (model, config) = model_and_config(&args.file, &args.detector)?;
    let settings = Settings::new(&args.detector, config.as_ref(), Purpose::Show)?;
    let files = files::list(&args.images)?;
    check_json(args, &model, &files)?;
    terminal.step("open");
    let network = Network::open(&model, settings, &args.runner, files.len(), &terminal)?;
    let decoder = Lane::new(&network)?.decoder();
    let classes = network.settings.class_names(decoder.classes());
    if let Some(count) = decoder.classes().filter(|count| !classes.is_empty() && *count != classes.len()) {
        terminal
            .note(&format!("the model has {count} classes, and {} are named: are the names its own?", classes.len()));
    }
    let pictures = args.out.as_deref().map(|folder| Pictures::create(folder, &files, &classes)).transpose()?;
    if let (Some(pictures), Some(json)) = (&pictures, &args.json)
        && pictures.includes(json)
    {
        bail!(Failure::usage(format!("{} is to hold the boxes and a picture", json.display())));
    }
    // Pictures are wanted even where nobody reads the boxes any more.
    let unread = if pictures.is_some() { Unread::GoOn } else { Unread::Stop };
    let create = |to: &PathBuf| Results::create(to, &files, &classes, args.coco_ids, unread);
    let mut results = args.json.as_ref().map(create).transpose()?;
    let mut report = Report::new(&network, decoder);
    let monitored = Monitored::start(&args.monitor, "detect", &model, &network.engine)?;
    let counters = monitored.counters();
    let start = Instant::now();
    terminal.step("detect");
    let job = Job { network: &network, files: &files, keep_pixels: pictures.is_some(), cancel: &cancel };
    let draw = |answer: &mut _| pictures.as_ref().map_or(Ok(()), |pictures| pictures.draw(answer));
    let detected = run_detector(&job, draw, |answer| {
        counters.ran(answer.photos.len() as u64);
        for image in &answer.unreadable {
            terminal.note(&format!("passed over {}: {}", image.file, image.reason));
        }
        if let Some(results) = &mut results {
            results.add(&answer)?;
        }
        report.add(answer);
        terminal.advance_steadily("images", report.files() as u64, files.len() as u64);
        Ok(())
    });
    report.seconds = start.elapsed().as_secs_f64();
    // A run that failed is worth looking at, too.
    let recorded = monitored.finish(&terminal);
    let to_stdout = results.as_ref().is_some_and(Results::is_stdout);
    let has_written = pictures.is_some() || to_stdout;
    detected.map_err(|error| match has_written && is_cancelled(&error) {
        true => interrupted(&report, files.len()),
        false => error,
    })?;
    terminal.finish();
    report.doubts(&classes).iter().for_each(|doubt| terminal.note(doubt));
    if let (0, Some(first)) = (report.images, &report.first_unreadable) {
        let message = format!("{} and none that could be read; the first: {first}", counted(files.len(), "image"));
        bail!(Failure::input(message).hint("name photographs that are there, in JPEG, PNG, BMP, WebP, TIFF or GIF"));
    }
    results.map(Results::commit).transpose()?;
    if !to_stdout {
        standard_output::write(report.text(&classes))?;
    }
    recorded
}
