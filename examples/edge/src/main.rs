//! What an application around trtforge's libraries looks like: a camera, a detector under a memory budget, boxes.
//!
//!     cargo run --release --package trtforge-edge -- assets/detector/detector.onnx assets/detector/evaluation --frames 256
//!
//! An `.onnx` model runs on the CPU; with `--features tensorrt` an `.engine` runs on a GPU, and nothing else changes.

mod camera;
mod detector;
mod pipeline;

use anyhow::{Context, Result};
use camera::Camera;
use clap::Parser;
use detector::Detector;
use pipeline::{Outcome, Pipeline};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use trtforge_runtime::monitor::{Form, Monitor, MonitorOptions, OwnSource};
use trtforge_runtime::{Batcher, BatcherOptions, Bytes, Engine, SessionEngine, gib, mib};
use trtforge_vision::{ClassNames, Selection};

/// Look for objects in what a camera shows.
#[derive(Debug, Parser)]
struct Args {
    /// Engine or model of a detector
    model: PathBuf,
    /// Folder of pictures that stands in for the camera
    camera: PathBuf,
    /// Most memory for weights, activations, inputs and outputs
    #[arg(long, default_value = "64MiB", value_parser = parse_bytes)]
    budget: u64,
    /// Most frames that run together; fewer, where the budget holds no more
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1024))]
    batch: u64,
    /// Frames that the camera shows [default: until Ctrl-C]
    #[arg(long, conflicts_with = "seconds")]
    frames: Option<u64>,
    /// Time that the camera is on [default: until Ctrl-C]
    #[arg(long)]
    seconds: Option<u32>,
    /// Frames per second
    #[arg(long, default_value_t = 25.0, value_parser = parse_rate)]
    fps: f64,
    /// Folder for frames with boxes drawn into them
    #[arg(long)]
    out: Option<PathBuf>,
    /// File for memory and throughput over time
    #[arg(long, value_name = "FILE.csv|.json", value_parser = parse_recording)]
    monitor: Option<(PathBuf, Form)>,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Least score of a box
    #[arg(long, default_value_t = 0.4)]
    score: f32,
    /// Overlap above which the weaker of two boxes of a class goes
    #[arg(long, default_value_t = 0.65)]
    iou: f32,
}

fn main() -> ExitCode {
    // Before any other thread: otherwise ONNX Runtime keeps a usage database in the home folder.
    trtforge_runtime::disable_usage_reporting();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(hint) = error.downcast_ref::<trtforge_runtime::Error>().and_then(|it| it.hint()) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let stop = stop_on_interrupt()?;
    let classes = args.classes.as_deref().map(ClassNames::read).transpose()?.unwrap_or_default();
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let engine = detector::open(&args.model, args.budget)?;
    let monitor = Monitor::start("edge", OwnSource::engine(&engine)?, MonitorOptions::default())?;
    let mut session = detector::session(&engine, args.batch)?;
    println!("{} on {}, {} at most:\n{}", engine.name(), engine.device(), Bytes(args.budget), session.plan());
    let selection = Selection { score: args.score, iou: Some(args.iou), ..Selection::default() };
    let detector = Detector::new(&mut session, selection)?;
    let network = SessionEngine::new(session)?;
    // A batch computes while the next one is gathered.
    let samples = 2 * trtforge_runtime::BatchEngine::largest_batch(&network);
    let options = BatcherOptions { queue_capacity: samples, ..BatcherOptions::default() };
    let batcher = Batcher::new(vec![network], options)?;
    let (out, counters) = (args.out.clone(), monitor.counters());
    let pipeline = Pipeline { detector, batcher, samples, classes, out, counters };
    let frames = args.frames.or(args.seconds.map(|seconds| (f64::from(seconds) * args.fps).ceil() as u64));
    let mut camera = Camera::open(&args.camera, args.fps, frames.unwrap_or(u64::MAX))?;
    let start = Instant::now();
    let outcome = pipeline.run(&mut camera, &stop)?;
    tell(&outcome, &camera, &engine, start.elapsed().as_secs_f64());
    let recording = monitor.finish();
    args.monitor.as_ref().map_or(Ok(()), |(file, form)| Ok(recording.save(file, *form)?))
}

/// Hears of Ctrl-C, and of a service manager's request to end.
fn stop_on_interrupt() -> Result<Receiver<()>> {
    let (interrupted, stop) = channel();
    ctrlc::set_handler(move || {
        // Once the camera is off, nobody listens.
        let _ = interrupted.send(());
    })?;
    Ok(stop)
}

fn tell(outcome: &Outcome, camera: &Camera, engine: &Engine, seconds: f64) {
    let Outcome { looked_at, unreadable, batches, objects, latency_us } = outcome;
    let dropped = camera.shown() - looked_at - unreadable;
    let ledger = engine.ledger();
    let limit = ledger.budget().device_bytes.unwrap_or(u64::MAX);
    let milliseconds = |quantile: f64| latency_us.value_at_quantile(quantile) as f64 / 1e3;
    let together = *looked_at as f64 / (*batches).max(1) as f64;
    println!("frames   {} shown, {looked_at} looked at, {dropped} dropped, {unreadable} unreadable", camera.shown());
    println!("rate     {:.1} per second, {together:.1} at a time", *looked_at as f64 / seconds);
    println!("objects  {objects}");
    println!("latency  {:.1} ms in the middle, {:.1} ms for 99 %", milliseconds(0.5), milliseconds(0.99));
    println!("memory   {} bytes at most, budget {limit}", ledger.peak_device_bytes());
}

fn parse_recording(text: &str) -> Result<(PathBuf, Form), String> {
    let forms = [(".csv", Form::Csv), (".json", Form::Json)];
    let form = forms.into_iter().find(|(ending, _)| text.ends_with(ending));
    form.map(|(_, form)| (text.into(), form)).ok_or_else(|| "write a name that ends in .csv or .json".to_owned())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("MiB", mib(1)), ("GiB", gib(1)), ("", 1)];
    let parse = |(name, bytes): (&str, u64)| text.strip_suffix(name)?.parse::<u64>().ok()?.checked_mul(bytes);
    units.into_iter().find_map(parse).ok_or_else(|| "write 64MiB, 1GiB or a number of bytes".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=10_000.0).contains(rate));
    rate.ok_or_else(|| "write a number from 0.01 to 10000".to_owned())
}
