//! `trtforge soak`: runs a model or an engine over and over, and says whether anything grows.

use crate::args::json::JsonArgs;
use crate::args::monitor::MonitorArgs;
use crate::args::verbosity::VerbosityArgs;
use crate::failure::Failure;
use crate::file_kind::{self, FileKind};
use crate::monitored::Monitored;
use crate::progress::Terminal;
use crate::table::Table;
use crate::{interrupt, standard_output};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use trtforge_builder::{ByteSize, NamedShape, Progress, counted, format_bytes};
use trtforge_runtime::leak::{Soak, Soaked, Verdict, Watch};
use trtforge_runtime::{Engine, EngineOptions, Error, Request, Session, Shape, ShapeRange};

/// Run a model or an engine over and over and say whether anything leaks
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Engine or model
    #[arg(value_name = "ENGINE|MODEL")]
    file: PathBuf,
    /// Inferences
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    iterations: u64,
    /// End after so many seconds, if that is sooner
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Largest batch, where the model leaves that open; runs go round from 1 to it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Shape of an input that the model leaves open; once per input
    #[arg(long, value_name = "NAME=1x3x640x640")]
    shape: Vec<NamedShape>,
    /// Inferences of a session until it is made anew
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    recreate: u64,
    /// Most device memory for everything together
    #[arg(long, value_name = "SIZE")]
    budget: Option<ByteSize>,
    /// Threads within an operator, on the CPU [default: one per processor]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: u32,
    /// Files for a recording.
    #[command(flatten)]
    monitor: MonitorArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Soaks, reports, and fails where something leaks.
pub fn run(args: &SoakArgs, verbosity: &VerbosityArgs) -> Result<()> {
    if file_kind::of(&args.file)? == FileKind::Cache {
        bail!(file_kind::cache_refused(&args.file));
    }
    let terminal = Terminal::new(verbosity);
    let cancel = interrupt::install()?;
    terminal.step("open");
    let engine = EngineOptions { threads: args.threads, gpu: args.gpu, ..EngineOptions::default() }.open(&args.file)?;
    if let Some(budget) = args.budget {
        engine
            .ledger()
            .set_budget(trtforge_runtime::Budget { device_bytes: Some(budget.bytes()), ..Default::default() });
    }
    let monitored = Monitored::start(&args.monitor, "soak", &args.file, &engine)?;
    let soak = Soak {
        iterations: args.iterations,
        duration: args.duration.map(Duration::from_secs),
        request: args.request(&engine),
        recreate: args.recreate,
        counters: monitored.counters(),
        ..Soak::default()
    };
    terminal.step("soak");
    let tell = |done: u64| {
        terminal.advance_steadily("inferences", done, args.iterations);
        !cancel.is_cancelled()
    };
    let soaked = soak.run(&engine, |session| args.shape_slots(session), tell);
    // A run that failed is worth looking at, too.
    let recorded = monitored.finish(&terminal);
    let soaked = soaked?;
    terminal.finish();
    match args.json.json {
        true => standard_output::write_json(&report(&soaked))?,
        false => standard_output::write(text(&soaked))?,
    }
    let leaks: Vec<&str> = soaked.leaks().map(|watch| watch.what.name()).collect();
    if leaks.is_empty() {
        return recorded;
    }
    bail!(
        Failure::check(format!("something leaks: {}", leaks.join("; ")))
            .hint("repeat with more --iterations to be sure: a warm-up of more than a third of the run looks the same")
    )
}

impl SoakArgs {
    fn request(&self, engine: &Engine) -> Request {
        let batch = Some(u64::from(self.batch));
        if !engine.signature().profiles.is_empty() {
            return Request { batch, ..Request::default() };
        }
        let range = |named: &NamedShape| {
            let max = Shape::new(&named.shape.0)?;
            Some((named.input.clone(), ShapeRange { min: max, max }))
        };
        Request { batch, shapes: self.shape.iter().filter_map(range).collect(), ..Request::default() }
    }

    fn shape_slots(&self, session: &mut Session) -> Result<(), Error> {
        self.shape.iter().try_for_each(|named| session.set_shape(&named.input, &named.shape.0))
    }
}

fn shown(watch: &Watch, value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    match watch.what.is_bytes() {
        true => format!("{sign}{}", format_bytes(value.abs() as u64)),
        false if value.fract() == 0.0 => format!("{value:.0}"),
        false => format!("{value:.2}"),
    }
}

fn text(soaked: &Soaked) -> String {
    let mut table = Table::new(&["WATCHED", ">FIRST", ">LAST", "VERDICT", ">PER 1,000", ">CONFIDENCE"]);
    for watch in &soaked.watches {
        let (per_thousand, confidence) = match watch.verdict {
            Verdict::Leak { per_thousand, confidence } => {
                (shown(watch, per_thousand), format!("{:.4} %", 100.0 * confidence))
            }
            _ => (String::new(), String::new()),
        };
        let ends = [watch.ends.0, watch.ends.1].map(|value| shown(watch, value as f64));
        let [first, last] = ends;
        table.row([watch.what.name().to_owned(), first, last, watch.verdict.to_string(), per_thousand, confidence]);
    }
    let seconds = soaked.took.as_secs_f64();
    let runs = counted(soaked.iterations as usize, "inference");
    format!("{}\n{runs} in {} in {seconds:.1} s\n", table.render(), counted(soaked.sessions as usize, "session"))
}

fn report(soaked: &Soaked) -> Value {
    let watch = |watch: &Watch| {
        let mut value = json!({
            "what": watch.what.name(), "first": watch.ends.0, "last": watch.ends.1, "leaks": watch.verdict.is_leak(),
            "verdict": watch.verdict.to_string(),
        });
        match watch.verdict {
            Verdict::Leak { per_thousand, confidence } => {
                (value["per_1000_inferences"], value["confidence"]) = (json!(per_thousand), json!(confidence));
            }
            Verdict::OneOff { growth } => value["growth"] = json!(growth),
            Verdict::Flat | Verdict::TooFew { .. } => {}
        }
        value
    };
    json!({
        "iterations": soaked.iterations, "sessions": soaked.sessions, "seconds": soaked.took.as_secs_f64(),
        "watched": soaked.watches.iter().map(watch).collect::<Vec<_>>(),
    })
}
