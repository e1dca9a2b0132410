//! A model's memory by batch and precision, from real builds that are thrown away.

use super::pictures::Pictures;
use super::{PlanArgs, explained};
use crate::args::verbosity::VerbosityArgs;
use crate::cache_folder::cache_folder;
use crate::failure::Failure;
use crate::plots::{Bar, PlotFiles};
use crate::progress::Terminal;
use crate::table::Table;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use trtforge_builder::activation::ActivationAccount;
use trtforge_builder::fit::{MOST_BATCH, has_open_batch, largest_within};
use trtforge_builder::{
    BuildOptions, CancelFlag, Measured, Precision, PrepareOptions, Progress, format_bytes, measure,
};
use trtforge_graph::Model;

/// Batches that are looked at where a model leaves them open.
const BATCHES: [u32; 4] = [1, 4, 8, 16];

/// Memory by batch and precision.
#[derive(Debug, Serialize)]
struct Report {
    path: PathBuf,
    basis: &'static str,
    rows: Vec<Row>,
    budget_bytes: Option<u64>,
    /// For each precision the largest batch within the budget, where one was given and the batch is open.
    largest: Vec<Largest>,
}

#[derive(Debug, Serialize)]
struct Row {
    precision: Precision,
    /// None where the model fixes it.
    batch: Option<u64>,
    weights_bytes: u64,
    activation_bytes: u64,
    /// The least that the values between nodes take when node runs after node, in the model that this precision gives.
    lower_bound_bytes: u64,
    io_bytes: u64,
    total_bytes: u64,
    /// Locked host memory of one slot of a session.
    pinned_bytes: u64,
    /// Share of the total of the first precision, at the same batch, that is saved.
    saved: Option<f64>,
    fits: Option<bool>,
    /// What the activation memory is expected to be made of.
    activation: ActivationAccount,
    /// What TensorRT takes, over what the account explains.
    activation_over_explained: f64,
}

#[derive(Debug, Serialize)]
struct Largest {
    precision: Precision,
    /// None where not even one fits.
    batch: Option<u64>,
    total_bytes: Option<u64>,
    /// Whether larger ones were not tried.
    at_least: bool,
}

/// Builds, prints, and fails where a budget was given and nothing asked for fits.
pub fn run(args: &PlanArgs, plots: Option<PlotFiles>, verbosity: &VerbosityArgs) -> Result<()> {
    let terminal = Arc::new(Terminal::new(verbosity));
    let report = Planner::new(args, &terminal)?.report()?;
    terminal.finish();
    if let Some(plots) = plots {
        plots.write(|plot| report.pictures().svg(plot))?;
    }
    match args.json.json {
        true => standard_output::write_json(&report)?,
        false => standard_output::write(report.text())?,
    }
    match args.budget {
        Some(budget) if report.rows.iter().all(|row| row.fits == Some(false)) => bail!(
            Failure::check(format!("nothing that was asked for fits into {budget}"))
                .hint("a smaller batch, a smaller input or --precision int8 takes less")
        ),
        _ => Ok(()),
    }
}

struct Planner<'a> {
    args: &'a PlanArgs,
    terminal: &'a Arc<Terminal>,
    cancel: CancelFlag,
    cache: Option<PathBuf>,
    /// Whether the model leaves the batch open.
    open: bool,
}

impl<'a> Planner<'a> {
    fn new(args: &'a PlanArgs, terminal: &'a Arc<Terminal>) -> Result<Self> {
        let open = has_open_batch(&Model::read(&args.file)?) && !args.shapes.has_ranges();
        if !open && !args.batches.is_empty() {
            bail!(
                Failure::usage("--batches needs a model that leaves its leading dimension open, and no other shapes")
                    .hint("export the model with a dynamic batch, or leave --batches out")
            );
        }
        let cache = if args.no_cache { None } else { cache_folder().map(|folder| folder.join("memory")) };
        Ok(Self { args, terminal, cancel: interrupt::install()?, cache, open })
    }

    fn precisions(&self) -> Vec<Precision> {
        if self.args.precision.is_empty() { vec![Precision::Fp16] } else { self.args.precision.clone() }
    }

    fn batches(&self) -> Vec<Option<u64>> {
        let listed = |batches: &[u32]| batches.iter().map(|&batch| Some(u64::from(batch))).collect();
        match (self.open, self.args.shapes.batch, self.args.batches.as_slice()) {
            (false, ..) => vec![None],
            (true, Some(only), _) => vec![Some(u64::from(only))],
            (true, None, []) => listed(&BATCHES),
            (true, None, batches) => listed(batches),
        }
    }

    fn report(&self) -> Result<Report> {
        let mut rows: Vec<Row> = Vec::new();
        for precision in self.precisions() {
            for batch in self.batches() {
                let mut row = self.row(precision, batch)?;
                let first = rows.iter().find(|row| row.batch == batch).map(|row| row.total_bytes);
                row.saved = first.map(|first| 1.0 - row.total_bytes as f64 / first as f64);
                rows.push(row);
            }
        }
        let budget_bytes = self.args.budget.map(|budget| budget.bytes());
        let largest = match budget_bytes {
            Some(budget) if self.open && self.args.shapes.batch.is_none() => {
                self.precisions().into_iter().map(|precision| self.largest(precision, budget, &rows)).collect()
            }
            _ => Ok(Vec::new()),
        };
        let basis = "builds";
        Ok(Report { path: self.args.file.clone(), basis, rows, budget_bytes, largest: largest? })
    }

    fn row(&self, precision: Precision, batch: Option<u64>) -> Result<Row> {
        let Measured { memory, activation } = self.measured(precision, batch)?;
        Ok(Row {
            precision,
            batch,
            weights_bytes: memory.weights_bytes,
            activation_bytes: memory.activation_bytes,
            lower_bound_bytes: activation.bound_bytes,
            io_bytes: memory.io_bytes,
            total_bytes: memory.total_bytes,
            pinned_bytes: memory.io_bytes,
            saved: None,
            fits: self.args.budget.map(|budget| memory.total_bytes <= budget.bytes()),
            activation_over_explained: explained::ratio(&activation, memory.activation_bytes),
            activation,
        })
    }

    fn measured(&self, precision: Precision, batch: Option<u64>) -> Result<Measured> {
        let at = batch.map_or_else(String::new, |batch| format!(" at batch {batch}"));
        self.terminal.step(&format!("build {precision}{at}"));
        let mut prepare = PrepareOptions::new(&self.args.file, precision);
        prepare.shapes = self.args.shapes.request()?;
        prepare.batch = batch;
        let quiet: Arc<dyn Progress> = Arc::new(());
        Ok(measure(&BuildOptions::new(prepare, PathBuf::new()), self.cache.as_deref(), &quiet, &self.cancel)?)
    }

    fn largest(&self, precision: Precision, budget: u64, rows: &[Row]) -> Result<Largest> {
        let of_precision = rows.iter().filter(|row| row.precision == precision);
        let known = of_precision.filter_map(|row| Some((row.batch?, row.total_bytes))).collect();
        let total = |batch| self.measured(precision, Some(batch)).map(|measured| measured.memory.total_bytes);
        let found = largest_within(budget, known, total)?;
        let (batch, total_bytes) = found.unzip();
        Ok(Largest { precision, batch, total_bytes, at_least: batch == Some(MOST_BATCH) })
    }
}

impl Row {
    fn name(&self) -> String {
        let at = self.batch.map_or_else(String::new, |batch| format!(" at batch {batch}"));
        format!("{}{at}", self.precision)
    }

    /// Precision and batch, as they begin every line.
    fn head(&self) -> [String; 2] {
        [self.precision.to_string(), self.batch.map_or_else(|| "-".to_owned(), |batch| batch.to_string())]
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = format!("{}: by builds, as TensorRT reports them\n\n", self.path.display());
        text += &self.classes().render();
        text += "\nPINNED: host memory beside TOTAL, for one slot\n";
        for largest in &self.largest {
            text += &largest.text(self.budget_bytes.unwrap_or_default());
        }
        let mut table = explained::table(&["PRECISION", ">BATCH"]);
        for row in &self.rows {
            table.row(row.head().into_iter().chain(explained::cells(&row.activation, row.activation_bytes)));
        }
        text += &format!("\n{}{}", table.render(), explained::LEGEND);
        for row in self.first_of_each() {
            text += &format!("\n{}", explained::charges(&row.name(), &row.activation));
        }
        text
    }

    fn classes(&self) -> Table {
        let headers = ["PRECISION", ">BATCH", ">WEIGHTS", ">ACTIVATION", ">IN, OUT", ">TOTAL", ">SAVED", ">PINNED", ""];
        let mut table = Table::new(&headers);
        for row in &self.rows {
            let bytes = [row.weights_bytes, row.activation_bytes, row.io_bytes, row.total_bytes];
            let saved = row.saved.map_or_else(String::new, |saved| format!("{:.0} %", 100.0 * saved));
            let fits = match row.fits {
                Some(true) => "fits",
                Some(false) => "does not fit",
                None => "",
            };
            let cells = row.head().into_iter().chain(bytes.map(format_bytes));
            table.row(cells.chain([saved, format_bytes(row.pinned_bytes), fits.to_owned()]));
        }
        table
    }

    /// One build of each precision: larger batches peak at the same place.
    fn first_of_each(&self) -> impl Iterator<Item = &Row> {
        let is_first = |index: usize| {
            let precision = self.rows[index].precision;
            self.rows[..index].iter().all(|row| row.precision != precision)
        };
        self.rows.iter().enumerate().filter(move |(index, _)| is_first(*index)).map(|(_, row)| row)
    }

    fn pictures(&self) -> Pictures {
        let bar =
            |row: &Row| Bar { name: row.name(), bytes: vec![row.weights_bytes, row.activation_bytes, row.io_bytes] };
        Pictures {
            file: self.path.clone(),
            bars: self.rows.iter().map(bar).collect(),
            curves: self.first_of_each().map(|row| explained::curve(row.name(), &row.activation)).collect(),
            step: "kernel",
            budget: self.budget_bytes,
        }
    }
}

impl Largest {
    fn text(&self, budget: u64) -> String {
        let (precision, budget) = (self.precision, format_bytes(budget));
        match (self.batch, self.total_bytes) {
            (Some(batch), Some(bytes)) => {
                let more = if self.at_least { " or more" } else { "" };
                format!("{precision}: batch {batch}{more} fits into {budget} with {}\n", format_bytes(bytes))
            }
            _ => format!("{precision}: no batch fits into {budget}\n"),
        }
    }
}
