//! `trtforge zoo`: models of known architectures with random weights, to learn memory and latency before weights exist.

use crate::args::json::JsonArgs;
use crate::failure::Failure;
use crate::standard_output;
use crate::table::Table;
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trtforge_zoo::{Batch, Options, Variant};

/// Write a model of a known architecture with random weights; without a name, list the architectures
#[derive(Debug, Args)]
pub struct ZooArgs {
    /// Architecture, as `trtforge zoo` lists it
    #[arg(requires = "output")]
    name: Option<String>,
    /// Model to write
    #[arg(short, long, value_name = "MODEL.onnx", requires = "name")]
    output: Option<PathBuf>,
    /// Images per run: a number, or `dynamic` to leave it open
    #[arg(long, value_name = "N|dynamic", default_value = "1")]
    batch: BatchChoice,
    /// Side of the square input in pixels; without it the architecture's own
    #[arg(long, value_name = "PIXELS")]
    size: Option<u32>,
    /// Leave the decoding out: outputs are the head's maps instead of `scores` and `boxes`
    #[arg(long)]
    raw: bool,
    /// Chooses the weights; the same seed gives the same file
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

#[derive(Debug, Clone, Copy)]
struct BatchChoice(Batch);

/// Why a text is no batch.
#[derive(Debug, thiserror::Error)]
#[error("write a number of at least 1, or `dynamic`")]
struct BatchError;

impl FromStr for BatchChoice {
    type Err = BatchError;

    fn from_str(text: &str) -> Result<Self, BatchError> {
        if text == "dynamic" {
            return Ok(Self(Batch::Dynamic));
        }
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(|count| Self(Batch::Fixed(count))).ok_or(BatchError)
    }
}

/// Lists the architectures, or writes one.
pub fn run(args: &ZooArgs) -> Result<()> {
    match (&args.name, &args.output) {
        (Some(name), Some(output)) => write(args, name.parse()?, output),
        _ => list(args.json),
    }
}

fn write(args: &ZooArgs, variant: Variant, output: &Path) -> Result<()> {
    let options =
        Options { batch: args.batch.0, size: args.size, raw: args.raw, seed: args.seed, ..Options::new(variant) };
    if let Some(folder) = output.parent() {
        let failed = |error| Failure::usage(format!("cannot make the folder {}", folder.display())).because(error);
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let model = trtforge_zoo::generate(&options)?;
    model.write(output)?;
    let report =
        Written { path: output.to_owned(), architecture: variant.name(), weights_bytes: model.weights_bytes() };
    match args.json.json {
        true => standard_output::write_json(&report),
        false => standard_output::write(format!("{}\n", output.display())),
    }
}

#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    architecture: &'static str,
    weights_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    input_pixels: u32,
}

fn list(json: JsonArgs) -> Result<()> {
    let listed: Vec<Listed> = Variant::ALL
        .iter()
        .map(|variant| Listed { name: variant.name(), input_pixels: variant.default_size() })
        .collect();
    if json.json {
        return standard_output::write_json(&listed);
    }
    let mut table = Table::new(&["NAME", ">INPUT"]);
    for variant in &listed {
        table.row([variant.name.to_owned(), format!("{0}x{0}", variant.input_pixels)]);
    }
    standard_output::write(table.render())
}
