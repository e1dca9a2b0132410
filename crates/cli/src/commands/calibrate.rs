//! `trtforge calibrate`: the calibration alone; a model and real inputs in, a calibration cache out.

use crate::args::calibration::CalibrationArgs;
use crate::args::json::JsonArgs;
use crate::args::model::ModelArgs;
use crate::args::samples::SampleArgs;
use crate::args::shape::ShapeArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::progress::Terminal;
use crate::table::{Table, pairs};
use crate::{interrupt, standard_output};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use trtforge_builder::calibration::{CalibratedTensor, Sidecar};
use trtforge_builder::{
    CalibrateOptions, CalibrationMethod, CalibrationOutcome, Config, Precision, PrepareOptions, calibrate, counted,
    format_bytes,
};

/// Run a model on real inputs and write the calibration cache that INT8 needs
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Cache to write; without it the config's. OUT.cache.json says what it belongs to, OUT.cache.histograms keeps what
    /// was seen, so that an interrupted run continues and another method needs no new one
    #[arg(short, long, value_name = "OUT.cache")]
    output: Option<PathBuf>,
    /// List every tensor with its range and threshold, the widest first
    #[arg(long)]
    table: bool,
    /// Start anew where the kept histograms were made from something else
    #[arg(long)]
    force: bool,
    /// Model or config.
    #[command(flatten)]
    model: ModelArgs,
    /// Calibration flags.
    #[command(flatten)]
    calibration: CalibrationArgs,
    /// Shape flags.
    #[command(flatten)]
    shapes: ShapeArgs,
    /// Sample flags.
    #[command(flatten)]
    samples: SampleArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Calibrates and prints what was seen.
pub fn run(args: &CalibrateArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let options = args.options()?;
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let outcome = calibrate(&options, &terminal, &cancel)?;
    terminal.finish();
    match args.json.json {
        true => standard_output::write_json(&report(&outcome)),
        false => standard_output::write(text(&outcome, args.table)),
    }
}

impl CalibrateArgs {
    fn options(&self) -> Result<CalibrateOptions> {
        let config = self.model.config()?;
        let calibration = config.as_ref().and_then(|config| config.calibration.as_ref());
        let configured = calibration.and_then(|calibration| calibration.cache.clone());
        let output = self.output.clone().or(configured).ok_or_else(|| {
            Failure::usage("nothing says where the cache is to be written").hint("name it with -o OUT.cache")
        })?;
        let mut options = CalibrateOptions::new(self.prepare_options(config.as_ref())?, output);
        let configured = calibration.and_then(|calibration| calibration.method);
        options.method = self.calibration.calibration_method.or(configured).unwrap_or(CalibrationMethod::Auto);
        options.threads = self.calibration.threads.map_or(0, usize::from);
        options.force = self.force;
        Ok(options)
    }

    fn prepare_options(&self, config: Option<&Config>) -> Result<PrepareOptions> {
        let calibration = config.and_then(|config| config.calibration.as_ref());
        let mut options = PrepareOptions::new(self.model.path(config), Precision::Fp32);
        options.shapes = self.shapes.request()?;
        options.batch = self.shapes.batch.map(u64::from);
        options.samples = self.samples.source(calibration.map(|calibration| calibration.images.clone()));
        options.sample_count = self.samples.calibration_count.or(calibration.and_then(|calibration| calibration.count));
        options.max_unreadable = self.samples.max_unreadable;
        if let Some(config) = config {
            options.preprocess.clone_from(&config.preprocess);
            config.shapes.iter().for_each(|(input, entry)| options.shapes.add_entry(input, entry));
        }
        Ok(options)
    }
}

fn report(outcome: &CalibrationOutcome) -> Value {
    let unreadable = outcome.unreadable.iter().map(|image| json!({ "file": image.file, "reason": image.reason }));
    json!({
        "cache": outcome.cache,
        "sidecar": Sidecar::path_for(&outcome.cache),
        "histograms": outcome.histograms,
        "method": outcome.method,
        "samples": outcome.samples,
        "earlier_samples": outcome.earlier,
        "skipped": unreadable.collect::<Vec<_>>(),
        "samples_per_second": outcome.samples_per_second(),
        "pass_seconds": outcome.pass_seconds,
        "seconds": outcome.seconds,
        "peak_resident_bytes": peak_resident_bytes(),
        "dead": outcome.dead().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
        "tensors": outcome.tensors,
    })
}

fn text(outcome: &CalibrationOutcome, table: bool) -> String {
    let tensors_seen = counted(outcome.tensors.len(), "tensor");
    let mut rows = vec![
        ("cache", format!("{}  {tensors_seen}, method {}", outcome.cache.display(), outcome.method)),
        (outcome.unit, samples(outcome)),
        ("histograms", histograms(outcome)),
    ];
    match outcome.dead().count() {
        0 => {}
        1 => rows.push(("dead", "1 tensor is always zero".to_owned())),
        count => rows.push(("dead", format!("{count} tensors are always zero"))),
    }
    if let Some(bytes) = peak_resident_bytes() {
        rows.push(("memory", format!("{} at most", format_bytes(bytes))));
    }
    rows.push(("time", format!("{:.1} s", outcome.seconds)));
    let summary = pairs(&rows);
    if table { summary + "\n" + &tensors(outcome) } else { summary }
}

fn samples(outcome: &CalibrationOutcome) -> String {
    let rate = outcome.samples_per_second().map_or_else(String::new, |rate| format!(", {rate:.1} per second"));
    let skipped = match outcome.unreadable.len() {
        0 => String::new(),
        skipped => format!(", {skipped} passed over"),
    };
    format!("{}{rate}{skipped}", outcome.samples)
}

fn histograms(outcome: &CalibrationOutcome) -> String {
    let state = match outcome.earlier {
        0 => String::new(),
        _ if outcome.is_reused() => "  reused: no forward pass".to_owned(),
        earlier => format!("  continued after {earlier} {}", outcome.unit),
    };
    format!("{}{state}", outcome.histograms.display())
}

/// The widest tensors first, so the dead ones last.
fn tensors(outcome: &CalibrationOutcome) -> String {
    let mut rows: Vec<&CalibratedTensor> = outcome.tensors.iter().collect();
    rows.sort_by(|one, other| other.amax().total_cmp(&one.amax()));
    let mut table = Table::new(&["TENSOR", ">MIN", ">MAX", ">THRESHOLD", ">ZERO %"]);
    for tensor in rows {
        let number = |value: f32| format!("{value:.4}");
        let threshold = if tensor.is_dead() { "dead".to_owned() } else { number(tensor.threshold) };
        let zeros = format!("{:.1}", tensor.zeros * 100.0);
        table.row([tensor.name.clone(), number(tensor.min), number(tensor.max), threshold, zeros]);
    }
    table.render()
}

/// The most memory that this process had resident so far.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
