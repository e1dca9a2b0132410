//! `trtforge quantize`: the rewrite alone; an ONNX model in, an ONNX model in the precision asked for out.

use crate::args::json::JsonArgs;
use crate::args::pipeline::{DebugArgs, PipelineArgs};
use crate::args::verbosity::VerbosityArgs;
use crate::progress::Terminal;
use crate::table::{Table, pairs};
use crate::{interrupt, standard_output};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use trtforge_builder::{PrepareOptions, Prepared, counted, format_bytes};

/// Rewrite a model in another precision, without building an engine
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// Model to write
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,
    /// Cut the model into stages that run one after another, each a model beside OUT.onnx, which names them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    stages: Option<u16>,
    /// List the precision of every node, and why
    #[arg(long)]
    table: bool,
    /// Use a calibration cache that was made from something else
    #[arg(long)]
    force: bool,
    /// Model and how it is rewritten.
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Debugging flags.
    #[command(flatten)]
    debug: DebugArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Rewrites and prints what was decided.
pub fn run(args: &QuantizeArgs, verbosity: &VerbosityArgs) -> Result<()> {
    let config = args.pipeline.model.config()?;
    let mut options = args.pipeline.prepare_options(config.as_ref(), &args.debug)?;
    options.settle_shapes = args.stages.is_some();
    options.int8.force = args.force;
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    let prepared =
        trtforge_builder::quantize(&options, args.stages.map(usize::from), &args.output, &terminal, &cancel)?;
    terminal.finish();
    match args.json.json {
        true => standard_output::write_json(&report(&options, &prepared, &args.output)),
        false => standard_output::write(text(&options, &prepared, args)),
    }
}

fn report(options: &PrepareOptions, prepared: &Prepared, output: &Path) -> Value {
    json!({
        "model": output,
        "precision": options.precision,
        "weights_bytes": prepared.model.weights_bytes(),
        "nodes": prepared.table.counts(),
        "int8_flops": prepared.decision.as_ref().map(|decision| decision.int8_share),
        "calibration": prepared.decision.as_ref().map(|decision| &decision.calibration),
        "table": prepared.table.rows(),
    })
}

fn text(options: &PrepareOptions, prepared: &Prepared, args: &QuantizeArgs) -> String {
    let counts = prepared.table.counts();
    let share = prepared.decision.as_ref().map(|decision| decision.int8_share);
    let share = share.map(|share| format!("; {:.1} % of the arithmetic in int8", 100.0 * share));
    let (before, after) = (prepared.reference.weights_bytes(), prepared.model.weights_bytes());
    let summary = pairs(&[
        ("model", args.output.display().to_string()),
        (
            "precision",
            format!(
                "{}: {} fp32, {} fp16, {} int8{}",
                options.precision,
                counted(counts.fp32, "node"),
                counted(counts.fp16, "node"),
                counted(counts.int8, "node"),
                share.unwrap_or_default()
            ),
        ),
        ("weights", format!("{} to {}", format_bytes(before), format_bytes(after))),
    ]);
    if args.table { summary + "\n" + &decisions(prepared) } else { summary }
}

fn decisions(prepared: &Prepared) -> String {
    let mut table = Table::new(&["NODE", "OPERATOR", "PRECISION", "REASON"]);
    for row in prepared.table.rows() {
        let precision = format!("{:?}", row.precision).to_lowercase();
        table.row([row.node.clone(), row.operator.clone(), precision, row.reason.clone()]);
    }
    table.render()
}
