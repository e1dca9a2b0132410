//! `trtforge run`: a model or an engine on arrays or images, its outputs as NumPy files.
//!
//! One batch is read while another runs; what has run goes to its file at once, so memory does not grow with the inputs.

mod arguments;
mod feed;
mod npy;
mod outputs;
mod report;
mod statistics;

pub use arguments::RunArgs;

use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use crate::monitored::Monitored;
use crate::progress::Terminal;
use crate::{args::verbosity::VerbosityArgs, interrupt, standard_output};
use anyhow::{Result, bail};
use feed::Feed;
use outputs::Outputs;
use report::Report;
use std::time::Instant;
use trtforge_builder::samples::{Batch, Samples, UnreadableTally};
use trtforge_builder::{CancelFlag, Config, Error, Progress, counted};
use trtforge_runtime::monitor::Counters;
use trtforge_runtime::{Engine, EngineOptions, Session, SessionOptions, Ticket};

/// Runs everything, then reports.
pub fn run(args: &RunArgs, verbosity: &VerbosityArgs) -> Result<()> {
    if file_kind::of(&args.file)? == FileKind::Cache {
        bail!(file_kind::cache_refused(&args.file));
    }
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    terminal.step("open");
    let config = args.config.as_deref().map(Config::read).transpose()?;
    let engine = EngineOptions { threads: args.threads, gpu: args.gpu, ..EngineOptions::default() }.open(&args.file)?;
    let feed = Feed::new(&engine, args, config)?;
    let samples = feed.open(args)?;
    tell_conversions(&samples, &terminal);
    let monitored = Monitored::start(&args.monitor, "run", &args.file, &engine)?;
    let mut session = session(&engine, &feed, args)?;
    let mut outputs = Outputs::create(engine.signature(), args.output.as_deref(), args.separate, samples.batch())?;
    let start = Instant::now();
    terminal.step("run");
    let (rows, tickets, counters) = (Vec::new(), Vec::new(), monitored.counters());
    let mut runs = Runs { session: &mut session, outputs: &mut outputs, rows, tickets, counters };
    let unreadable = runs.all(&samples, &terminal, &cancel);
    let (rows, seconds) = (runs.rows, start.elapsed().as_secs_f64());
    // A run that failed is worth looking at, too.
    let recorded = monitored.finish(&terminal);
    let unreadable = unreadable?;
    outputs.name_rows(&rows)?;
    terminal.finish();
    let report = Report::new(&engine, &session, &feed, &samples, outputs.commit()?, seconds, &unreadable);
    match args.json.json {
        true => standard_output::write_json(&report)?,
        false => standard_output::write(report.text())?,
    }
    recorded
}

fn session(engine: &Engine, feed: &Feed, args: &RunArgs) -> Result<Session> {
    let options = SessionOptions {
        request: feed.request(engine, args.slots),
        budget_bytes: args.budget.map(|budget| budget.bytes()),
        cuda_graph: args.cuda_graph,
        ..SessionOptions::default()
    };
    let mut session = engine.session(options)?;
    for slot in 0..session.slots() {
        for input in &feed.inputs {
            session.slot(slot)?.set_shape(&input.name, &input.shape)?;
        }
    }
    Ok(session)
}

fn tell_conversions(samples: &Samples, progress: &dyn Progress) {
    for (input, from, to) in samples.conversions() {
        progress.note(&format!("input `{input}` takes {to}; its array holds {from} and is converted"));
    }
}

/// The runs under way, first to last.
struct Runs<'r> {
    session: &'r mut Session,
    outputs: &'r mut Outputs,
    /// Names of the rows, where they have names.
    rows: Vec<String>,
    /// Slot, ticket and number of rows of each run that is not collected yet.
    tickets: Vec<(usize, Ticket, usize)>,
    counters: Counters,
}

impl Runs<'_> {
    fn all(&mut self, samples: &Samples, progress: &dyn Progress, cancel: &CancelFlag) -> Result<UnreadableTally> {
        let mut tally = samples.tally();
        let files = samples.files();
        let named = samples.unit() == "images";
        let mut slot = 0;
        for index in 0..samples.len() {
            if cancel.is_cancelled() {
                bail!(Error::Cancelled);
            }
            let batch = samples.get(index)?;
            let first = index * samples.batch();
            let missing: Vec<usize> = batch.unreadable.iter().map(|image| image.index).collect();
            if named {
                let readable = (first..first + samples.rows_of(index)).filter(|row| !missing.contains(row));
                self.rows.extend(readable.filter_map(|row| Some(files.get(row)?.display().to_string())));
            }
            if batch.rows > 0 {
                self.submit(slot, &batch)?;
                slot = (slot + 1) % self.session.slots();
            }
            tally.add(batch.unreadable, progress)?;
            progress.advance_steadily(samples.unit(), (first + samples.rows_of(index)) as u64, samples.rows() as u64);
        }
        while !self.tickets.is_empty() {
            self.collect()?;
        }
        Ok(tally)
    }

    fn submit(&mut self, slot: usize, batch: &Batch) -> Result<()> {
        if self.tickets.len() == self.session.slots() {
            self.collect()?;
        }
        let mut into = self.session.slot(slot)?;
        for (name, tensor) in &batch.inputs {
            into.write_input(name, &tensor.data)?;
        }
        let ticket = into.submit()?;
        self.tickets.push((slot, ticket, batch.rows));
        Ok(())
    }

    /// Waits for the oldest run and takes its outputs.
    fn collect(&mut self) -> Result<()> {
        let (slot, ticket, rows) = self.tickets.remove(0);
        self.session.wait(ticket)?;
        self.counters.ran(rows as u64);
        self.outputs.take(&mut self.session.slot(slot)?, rows)
    }
}

/// What a session may be asked for beside what was given, as an error for a person.
fn open_shape(input: &str, declared: &str) -> Failure {
    Failure::usage(format!("input `{input}` has open dimensions, {declared}, and nothing says how large they are"))
        .hint(format!("give --shape '{input}=1x...', an array, or a config whose `preprocess` has a size"))
}

/// How many runs that many rows are.
fn runs_text(rows: usize, unit: &str, runs: usize) -> String {
    format!("{} in {}", counted(rows, unit), counted(runs, "run"))
}
