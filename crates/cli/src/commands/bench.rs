//! `trtforge bench`: throughput, latency and memory of a model or an engine; `bench compare`: two such reports.
//!
//! Progress is told in lines, between measurements: a bar that is drawn meanwhile would be measured with them.

mod arguments;
mod compare;
pub mod file;
mod matrix;
pub mod plot;
mod table;

pub use arguments::BenchArgs;

use crate::args::verbosity::{ProgressStyle, VerbosityArgs};
use crate::file_kind::{self, FileKind};
use crate::monitored::Monitored;
use crate::progress::Terminal;
use crate::{counted_allocations, standard_output};
use anyhow::{Result, bail};
use arguments::{BenchCommand, MeasureArgs};
use file::Destinations;
use matrix::{Matrix, Measurement};
use trtforge_builder::Progress;
use trtforge_runtime::bench::{
    self, Clocks, EngineInfo, KIND, Machine, QUANTILES, Report, Run, SCHEMA, Settings, Stage,
};
use trtforge_runtime::{Engine, EngineOptions};

/// Measures, or compares what was measured.
pub fn run(args: &BenchArgs, verbosity: &VerbosityArgs) -> Result<()> {
    match &args.command {
        Some(BenchCommand::Compare(args)) => compare::run(args),
        None => measure(&args.measure, verbosity),
    }
}

fn measure(args: &MeasureArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let file = args.file()?;
    if file_kind::of(file)? == FileKind::Cache {
        bail!(file_kind::cache_refused(file));
    }
    let terminal = Terminal::new(&in_lines(verbosity));
    terminal.step("open");
    let engine = EngineOptions { threads: args.threads, gpu: args.gpu, ..EngineOptions::default() }.open(file)?;
    let (matrix, mut notes) = Matrix::new(&engine, args)?;
    let destinations = Destinations::prepare(args)?;
    let monitored = Monitored::start(&args.monitor, "bench", file, &engine)?;
    counted_allocations::start();
    let measured = all(&engine, &matrix, args, &terminal, &monitored);
    // A run that failed is worth looking at, too.
    let recorded = monitored.finish(&terminal);
    let runs = measured?;
    runs.iter().for_each(|run| notes.extend(doubts(run)));
    let report = Report {
        schema: SCHEMA,
        kind: KIND.to_owned(),
        engine: EngineInfo { file: file.display().to_string(), device: engine.device().to_owned() },
        machine: Machine::of(&engine, args.threads, args.gpu),
        quantiles: QUANTILES.to_vec(),
        runs,
        notes,
    };
    terminal.finish();
    report.notes.iter().for_each(|note| terminal.note(note));
    destinations.write(&report)?;
    match args.json.json {
        true => standard_output::write_json(&report)?,
        false => standard_output::write(table::text(&report))?,
    }
    recorded
}

fn all(
    engine: &Engine,
    matrix: &Matrix,
    args: &MeasureArgs,
    terminal: &Terminal,
    monitored: &Monitored,
) -> Result<Vec<Run>> {
    let each = matrix.measurements.iter().map(|measurement| {
        let mut run = one(engine, measurement, args, terminal, monitored)?;
        run.clocks = (!engine.is_unified()).then(|| Clocks::now(args.gpu)).flatten();
        Ok(run)
    });
    each.collect()
}

fn one(
    engine: &Engine,
    measurement: &Measurement,
    args: &MeasureArgs,
    terminal: &Terminal,
    monitored: &Monitored,
) -> Result<Run> {
    let tell = |stage| {
        let what = match stage {
            Stage::WarmUp => "warm-up",
            Stage::Measure => "measure",
        };
        let step = format!("{measurement}: {what}");
        terminal.step(&step);
        monitored.mark(&step);
    };
    let counters = monitored.counters();
    let settings = Settings {
        duration: args.duration,
        warm_up: args.warmup,
        seed: args.seed,
        allocations: Some(counted_allocations::so_far),
        counters: Some(&counters),
        tell: &tell,
    };
    Ok(match measurement {
        Measurement::Closed(asked) => bench::closed(engine, asked, &settings)?,
        Measurement::Open(asked) => bench::open(engine, asked, &settings)?,
    })
}

/// The same verbosity, without a bar.
fn in_lines(verbosity: &VerbosityArgs) -> VerbosityArgs {
    let progress = match verbosity.progress {
        ProgressStyle::Auto | ProgressStyle::Bar => ProgressStyle::Plain,
        other => other,
    };
    VerbosityArgs { progress, ..verbosity.clone() }
}

/// What makes the figures of a measurement less than they seem.
fn doubts(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if run.warm_up.stable == Some(false) {
        notes.push(format!("{}: throughput had not settled after {:.1} s of warm-up", run.mode, run.warm_up.seconds));
    }
    match &run.latency_us {
        Some(latency) if latency.samples < 1000 => {
            let above = latency.samples as f64 / 100.0;
            let mode = &run.mode;
            notes.push(format!("{mode}: p99 of {} samples rests on {above:.0} of them", latency.samples));
        }
        _ => {}
    }
    if run.refused > 0 {
        notes.push(format!("{}: {} requests found the queue full and were refused", run.mode, run.refused));
    }
    notes
}
