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
use serde_json::{Value, json};
use std::path::PathBuf;
use trtforge_builder::{
    CompareOptions, Config, LayerReport, Precision, PrepareOptions, Progress, Verification, check_floor, counted,
};

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
    /// Compare the values inside the models as well
    #[arg(long)]
    layers: bool,
    /// List them from the worst on instead of in running order
    #[arg(long, requires = "layers")]
    sort: bool,
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
    let layers = match args.layers {
        true => Some(trtforge_builder::compare_layers(&options, &terminal, &cancel)?),
        false => None,
    };
    let layers = if args.sort { layers.map(LayerReport::sorted) } else { layers };
    terminal.finish();
    verification.notes.iter().for_each(|note| terminal.note(note));
    match args.json.json {
        true => standard_output::write_json(&report(args, &verification, layers.as_ref()))?,
        false => {
            standard_output::write(layers.map_or_else(String::new, |layers| inside(&layers)) + &text(&verification))?
        }
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
        reference.max_unreadable = self.samples.max_unreadable;
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
        FileKind::Cache => bail!(file_kind::cache_refused(file)),
        FileKind::Engine => bail!(
            Failure::usage(format!("{} is an engine; engines are not run in this version", file.display()))
                .hint("compare the model written with `trtforge build --emit-onnx`")
        ),
    }
}

fn report(args: &CompareArgs, verification: &Verification, layers: Option<&LayerReport>) -> Value {
    let mut report = json!({
        "reference": args.reference,
        "candidate": args.candidate,
        "samples": verification.samples,
        "outputs": verification.outputs,
        "notes": verification.notes,
    });
    if let Some(layers) = layers {
        report["layers"] = json!(layers.layers);
        report["layers_unmatched"] = json!(layers.unmatched);
    }
    report
}

/// The values inside, a line each.
fn inside(report: &LayerReport) -> String {
    let mut table = Table::new(&["NODE", "OPERATOR", "VALUE", ">SQNR dB", ">COSINE", ">MAX ERROR", ""]);
    for layer in &report.layers {
        let mark = if layer.worst_so_far { "worst so far" } else { "" };
        let made = [layer.node.clone(), layer.operator.clone()];
        // Values inside are not looked at channel by channel.
        let [value, sqnr, _, cosine, error] = accuracy::cells(&layer.accuracy);
        table.row(made.into_iter().chain([value, sqnr, cosine, error, mark.to_owned()]));
    }
    let unmatched = match report.unmatched {
        0 => String::new(),
        1 => "1 value of the reference is not in the candidate\n".to_owned(),
        count => format!("{count} values of the reference are not in the candidate\n"),
    };
    format!("{}{unmatched}\n", table.render())
}

fn text(verification: &Verification) -> String {
    let mut table = Table::new(&accuracy::HEADERS);
    verification.outputs.iter().for_each(|output| table.row(accuracy::cells(output)));
    format!("{}\non {}\n", table.render(), counted(verification.samples, "sample"))
}
