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
use crate::detector::{Job, Lane, Network, Purpose, Settings, run as run_detector};
use crate::failure::Failure;
use crate::monitored::Monitored;
use crate::progress::Terminal;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use pictures::Pictures;
use report::Report;
use results::Results;
use std::time::Instant;
use trtforge_builder::{Config, Progress, counted};

/// Detects everything, then reports.
pub fn run(args: &DetectArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let config = args.detector.config.as_deref().map(Config::read).transpose()?;
    let settings = Settings::new(&args.detector, config.as_ref(), Purpose::Show)?;
    let files = files::list(&args.images)?;
    terminal.step("open");
    let network = Network::open(&args.file, settings, &args.runner, files.len(), &terminal)?;
    let decoder = Lane::new(&network)?.decoder().cloned();
    let classes = network.settings.class_names(decoder.as_ref().and_then(trtforge_vision::Decoder::classes));
    let pictures = args.out.as_deref().map(|folder| Pictures::create(folder, &files, &classes)).transpose()?;
    let mut results =
        args.json.as_deref().map(|to| Results::create(to, &files, &classes, args.coco_ids)).transpose()?;
    let mut report = Report::new(&network, decoder.as_ref());
    let monitored = Monitored::start(&args.monitor, "detect", &args.file, &network.engine)?;
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
    detected?;
    terminal.finish();
    report.doubts(&classes).iter().for_each(|doubt| terminal.note(doubt));
    if let (0, Some(first)) = (report.images, &report.first_unreadable) {
        let message = format!("none of the {} could be read; the first: {first}", counted(files.len(), "image"));
        bail!(Failure::input(message).hint("known formats are JPEG, PNG, BMP, WebP, TIFF and GIF"));
    }
    let to_stdout = results.as_ref().is_some_and(Results::is_stdout);
    results.map(Results::commit).transpose()?;
    if !to_stdout {
        standard_output::write(report.text(&classes))?;
    }
    recorded
}
