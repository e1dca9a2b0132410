//! A model's memory by precision, batch and number of stages, from real builds that are thrown away.

use super::pictures::Pictures;
use super::timed::{self, Timed};
use super::{PlanArgs, TAKES_LESS, explained};
use crate::args::verbosity::VerbosityArgs;
use crate::cache_folder::{cache_folder, form_memory};
use crate::failure::Failure;
use crate::plots::{Bar, PlotFiles};
use crate::progress::Terminal;
use crate::table::Table;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use trtforge_builder::activation::ActivationAccount;
use trtforge_builder::fit::{MOST_BATCH, has_open_batch, largest_within};
use trtforge_builder::{
    BuildOptions, CancelFlag, FormMemory, Measured, Precision, PrepareOptions, Progress, Stages, format_bytes, lay_out,
    measure,
};
use trtforge_graph::Model;
use trtforge_graph::segmentation::SegmentMemory;

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
    /// Stages that it is cut into; the figures are then those of the one that takes most.
    stages: u32,
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
    /// What TensorRT takes, over what the account explains; none where it is cut into stages, since the account is of the whole.
    activation_over_explained: Option<f64>,
    /// What each stage takes, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stage_memory: Vec<SegmentMemory>,
    /// Time of a run, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timed>,
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
        Some(budget) if report.rows.iter().all(|row| row.fits == Some(false)) => {
            bail!(Failure::check(format!("nothing that was asked for fits into {budget}")).hint(TAKES_LESS))
        }
        _ => Ok(()),
    }
}

struct Planner<'a> {
    args: &'a PlanArgs,
    terminal: &'a Arc<Terminal>,
    cancel: CancelFlag,
    cache: Option<PathBuf>,
    forms: Arc<FormMemory>,
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
        let (cache, forms) = match args.no_cache {
            true => (None, Arc::default()),
            false => (cache_folder().map(|folder| folder.join("memory")), form_memory()),
        };
        Ok(Self { args, terminal, cancel: interrupt::install()?, cache, forms, open })
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
                for stages in self.stages() {
                    let mut row = self.row(Asked { precision, batch, stages })?;
                    let first = rows.iter().find(|row| row.batch == batch).map(|row| row.total_bytes);
                    row.saved = first.map(|first| 1.0 - row.total_bytes as f64 / first as f64);
                    rows.push(row);
                }
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

    fn stages(&self) -> Vec<u32> {
        if self.args.stages.is_empty() { vec![1] } else { self.args.stages.clone() }
    }

    fn row(&self, asked: Asked) -> Result<Row> {
        let Asked { precision, batch, stages } = asked;
        let (Measured { memory, activation, io_bytes, stages: stage_memory }, time) = match self.args.time {
            true => self.timed(asked)?,
            false => (self.measured(asked)?, None),
        };
        let whole = (stages == 1).then(|| explained::ratio(&activation, memory.activation_bytes));
        Ok(Row {
            precision,
            batch,
            stages,
            weights_bytes: memory.weights_bytes,
            activation_bytes: memory.activation_bytes,
            lower_bound_bytes: activation.bound_bytes,
            io_bytes: memory.io_bytes,
            total_bytes: memory.total_bytes,
            pinned_bytes: io_bytes,
            saved: None,
            fits: self.args.budget.map(|budget| memory.total_bytes <= budget.bytes()),
            activation_over_explained: whole,
            activation,
            stage_memory,
            time,
        })
    }

    fn measured(&self, asked: Asked) -> Result<Measured> {
        self.terminal.step(&format!("build {asked}"));
        Ok(measure(&self.options(asked)?, self.cache.as_deref(), &quiet(), &self.cancel)?)
    }

    fn timed(&self, asked: Asked) -> Result<(Measured, Option<Timed>)> {
        self.terminal.step(&format!("build {asked}"));
        let laid_out = lay_out(&self.options(asked)?, &quiet(), &self.cancel)?;
        self.terminal.step(&format!("run {asked}"));
        let time = timed::time(&laid_out, asked.batch)?;
        Ok((laid_out.measured, Some(time)))
    }

    fn options(&self, Asked { precision, batch, stages }: Asked) -> Result<BuildOptions> {
        let mut prepare = PrepareOptions::new(&self.args.file, precision);
        prepare.shapes = self.args.shapes.request()?;
        prepare.batch = batch;
        let mut options = BuildOptions::new(prepare, PathBuf::new());
        options.stages = (stages > 1).then_some(Stages::Count(stages as usize));
        options.forms = Arc::clone(&self.forms);
        Ok(options)
    }

    fn largest(&self, precision: Precision, budget: u64, rows: &[Row]) -> Result<Largest> {
        let whole = rows.iter().filter(|row| row.precision == precision && row.stages == 1);
        let known = whole.filter_map(|row| Some((row.batch?, row.total_bytes))).collect();
        let total = |batch| {
            let asked = Asked { precision, batch: Some(batch), stages: 1 };
            self.measured(asked).map(|measured| measured.memory.total_bytes)
        };
        let found = largest_within(budget, known, total)?;
        let (batch, total_bytes) = found.unzip();
        Ok(Largest { precision, batch, total_bytes, at_least: batch == Some(MOST_BATCH) })
    }
}

/// What a build is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    precision: Precision,
    batch: Option<u64>,
    stages: u32,
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.precision.fmt(out)?;
        self.batch.map_or(Ok(()), |batch| write!(out, " at batch {batch}"))?;
        if self.stages > 1 { write!(out, " in {} stages", self.stages) } else { Ok(()) }
    }
}

fn quiet() -> Arc<dyn Progress> {
    Arc::new(())
}

impl Row {
    fn name(&self) -> String {
        Asked { precision: self.precision, batch: self.batch, stages: self.stages }.to_string()
    }

    /// Precision, batch and stages, as they begin every line.
    fn head(&self) -> [String; 3] {
        let batch = self.batch.map_or_else(|| "-".to_owned(), |batch| batch.to_string());
        [self.precision.to_string(), batch, self.stages.to_string()]
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
        if let Some(times) = self.times() {
            text += &times;
        }
        let mut table = explained::table(&["PRECISION", ">BATCH"]);
        for row in self.rows.iter().filter(|row| row.stages == 1) {
            let [precision, batch, _] = row.head();
            table.row([precision, batch].into_iter().chain(explained::cells(&row.activation, row.activation_bytes)));
        }
        if !table.is_empty() {
            text += &format!("\n{}{}", table.render(), explained::LEGEND);
        }
        for row in self.first_of_each() {
            text += &format!("\n{}", explained::charges(&row.name(), &row.activation));
        }
        text
    }

    fn classes(&self) -> Table {
        let headers = [
            "PRECISION",
            ">BATCH",
            ">STAGES",
            ">WEIGHTS",
            ">ACTIVATION",
            ">IN, OUT",
            ">TOTAL",
            ">SAVED",
            ">PINNED",
            "",
        ];
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

    /// What was run: milliseconds, and what stages load for a run.
    fn times(&self) -> Option<String> {
        let device = &self.rows.iter().find_map(|row| row.time.as_ref())?.device;
        let headers = ["PRECISION", ">BATCH", ">STAGES", ">TOTAL", ">KEPT ms", ">LOADED ms", ">WEIGHTS LOADED"];
        let mut table = Table::new(&headers);
        for (row, time) in self.rows.iter().filter_map(|row| Some((row, row.time.as_ref()?))) {
            let streamed = time.streamed.as_ref();
            let loaded_ms = streamed.map_or_else(String::new, |streamed| format!("{:.1}", streamed.run_ms));
            let loaded = streamed.map_or_else(String::new, |streamed| format_bytes(streamed.loaded_bytes));
            let kept = format!("{:.1}", time.kept_ms);
            table.row(row.head().into_iter().chain([format_bytes(row.total_bytes), kept, loaded_ms, loaded]));
        }
        Some(format!(
            "\n{}\nmedian of a run on {device}. KEPT: all stages stay in memory; LOADED: in TOTAL, each is loaded anew for every run\n",
            table.render()
        ))
    }

    /// One build of each precision: larger batches peak at the same place.
    fn first_of_each(&self) -> impl Iterator<Item = &Row> {
        let is_first = |index: usize| {
            let row = &self.rows[index];
            row.stages == 1 && self.rows[..index].iter().all(|it| it.precision != row.precision || it.stages != 1)
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
