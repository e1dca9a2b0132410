//! `trtforge compare`: how far one model's outputs are from another's, on the same inputs.

use crate::accuracy;
use crate::args::accuracy::AccuracyArgs;
use crate::args::json::JsonArgs;
use crate::args::samples::SampleArgs;
use crate::args::shape::ShapeArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use crate::progress::Terminal;
use crate::table::Table;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use trtforge_builder::{CompareOptions, Config, Precision, PrepareOptions, Progress, Verification, check_floor};

/// Compare the outputs of two models on the same inputs
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Model that is right
    #[arg(value_name = "REFERENCE.onnx")]
    reference: PathBuf,
    /// Model to judge
    #[arg(value_name = "CANDIDATE.onnx")]
    candidate: PathBuf,
    /// Take preprocessing, shapes and sample inputs from a config
    #[arg(long, value_name = "CONFIG.yaml")]
    config: Option<PathBuf>,
    /// Sample flags.
    #[command(flatten)]
    samples: SampleArgs,
    /// Shape flags.
    #[command(flatten)]
    shapes: ShapeArgs,
    /// Accuracy flags.
    #[command(flatten)]
    accuracy: AccuracyArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Prints the error of every output, then fails if one is below the floor.
pub fn run(args: &CompareArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let floor = args.accuracy.floor()?;
    let options = args.options()?;
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let verification = trtforge_builder::compare(&options, &terminal, &cancel)?;
    terminal.finish();
    verification.notes.iter().for_each(|note| terminal.note(note));
    match args.json.json {
        true => standard_output::write_json(&json!({
            "reference": args.reference,
            "candidate": args.candidate,
            "samples": verification.samples,
            "outputs": verification.outputs,
            "notes": verification.notes,
        }))?,
        false => standard_output::write(text(&verification))?,
    }
    if verification.outputs.is_empty() {
        bail!(Failure::check("no output of the two models could be compared"));
    }
    match floor {
        Some(floor) => Ok(check_floor(&verification.outputs, &floor)?),
        None => Ok(()),
    }
}

impl CompareArgs {
    fn options(&self) -> Result<CompareOptions> {
        for file in [&self.reference, &self.candidate] {
            refuse_engine(file)?;
        }
        let config = self.config.as_deref().map(Config::read).transpose()?;
        let calibration = config.as_ref().and_then(|config| config.calibration.as_ref());
        let mut reference = PrepareOptions::new(&self.reference, Precision::Fp32);
        reference.shapes = self.shapes.request()?;
        reference.batch = self.shapes.batch.map(u64::from);
        reference.samples = self.samples.source(calibration.map(|calibration| calibration.images.clone()));
        reference.sample_count =
            self.samples.calibration_count.or(calibration.and_then(|calibration| calibration.count));
        if let Some(config) = config {
            config.shapes.iter().for_each(|(input, entry)| reference.shapes.add_entry(input, entry));
            reference.preprocess = config.preprocess;
        }
        Ok(CompareOptions { reference, candidate: self.candidate.clone() })
    }
}

fn refuse_engine(file: &std::path::Path) -> Result<()> {
    match file_kind::of(file)? {
        FileKind::Model => Ok(()),
        FileKind::Engine => bail!(
            Failure::usage(format!("{} is an engine; engines are not run in this version", file.display()))
                .hint("compare the model written with `trtforge build --emit-onnx`")
        ),
    }
}

fn text(verification: &Verification) -> String {
    let mut table = Table::new(&accuracy::HEADERS);
    verification.outputs.iter().for_each(|output| table.row(accuracy::cells(output)));
    format!("{}\non {} samples\n", table.render(), verification.samples)
}
