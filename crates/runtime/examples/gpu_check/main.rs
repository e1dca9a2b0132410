//! Everything about TensorRT engines that only a GPU can tell, as one JSON document on standard output.
//!
//!     gpu_check [--inferences N] ENGINE=FP32.onnx...
//!
//! Exit code 0: all is as wanted; 1: something is not; 2: wrong arguments; 3: there is no GPU. It needs no network. Without
//! engines it only says whether there is a GPU (3 if not, 2 if so). `make gpu-check` builds engines and runs it.

mod accuracy;
mod bare;
mod inputs;
mod memory;
mod report;
mod running;
mod staged;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use report::{Check, Report, Subject};
use trtforge_runtime::device::Cuda;
use trtforge_runtime::{Device, Engine, Error, Result, mib};

/// Counts what this program allocates, on all threads. What TensorRT takes from the C library by itself is not seen.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Most bytes that memory in use may grow by in a soak: steps in which the driver and the C library take it.
const MOST_GROWTH_BYTES: f64 = mib(4) as f64;

struct Arguments {
    inferences: usize,
    pairs: Vec<(PathBuf, PathBuf)>,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments { inferences: 5000, pairs: Vec::new() };
    while let Some(argument) = given.next() {
        if argument == "--inferences" {
            arguments.inferences = given.next()?.parse().ok().filter(|count| *count > 0)?;
        } else {
            let (engine, model) = argument.split_once('=')?;
            arguments.pairs.push((engine.into(), model.into()));
        }
    }
    Some(arguments)
}

fn main() -> ExitCode {
    trtforge_onnxruntime::disable_usage_reporting();
    let Some(arguments) = arguments(std::env::args().skip(1)) else { return usage() };
    let gpu = match Cuda::open(0) {
        Ok(gpu) => gpu,
        Err(error) => return print(&Report { gpu: None, reason: Some(error.to_string()), checks: Vec::new() }),
    };
    if arguments.pairs.is_empty() {
        return usage();
    }
    let mut report = Report { gpu: Some(gpu.name().to_owned()), reason: None, checks: Vec::new() };
    for (engine, model) in &arguments.pairs {
        report.checks.extend(check(engine, model, &gpu, arguments.inferences));
    }
    print(&report)
}

fn usage() -> ExitCode {
    eprintln!("usage: gpu_check [--inferences N] ENGINE=FP32.onnx...");
    ExitCode::from(2)
}

fn print(report: &Report) -> ExitCode {
    match serde_json::to_string_pretty(report) {
        Ok(text) => println!("{text}"),
        Err(error) => {
            eprintln!("gpu_check: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::from(report.exit_code())
}

/// All checks of one engine; one that fails does not keep the others from being made.
fn check(path: &Path, model: &Path, gpu: &Cuda, inferences: usize) -> Vec<Check> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut checks = Vec::new();
    let mut add = |what: &str, made: Result<Vec<Check>>| match made {
        Ok(made) => checks.extend(made),
        Err(error) => checks.push(Subject { engine: &name, name: what }.failed(&error)),
    };
    let free = || gpu.memory_info().map(|info| info.free_bytes);
    let used = || Ok(running::Used { device: -(free()? as f64), host: resident_bytes()? });
    let manifest = manifest(path);
    if manifest["stages"].as_array().is_some_and(|stages| !stages.is_empty()) {
        add("stages", staged::check(path, model, &manifest, inferences.min(400), MOST_GROWTH_BYTES, used));
        return checks;
    }
    add("memory", memory::planned(path, gpu));
    let engine = match Engine::open(path) {
        Ok(engine) => engine,
        Err(error) => {
            add("opening", Err(error));
            return checks;
        }
    };
    let counted = || ALLOCATIONS.load(Ordering::SeqCst);
    add("accuracy", bare::shapes(path).and_then(|it| accuracy::check(&engine, model, &manifest, &it)));
    add("allocations", running::allocations(&engine, inferences.min(200), counted));
    add("streams", running::streams(&engine, inferences.min(200), true));
    add("budget", memory::budget(&engine, free));
    add("a full device", memory::full(&engine, gpu));
    add("overhead", bare::overhead(path, &engine, gpu, inferences.min(800)));
    add("soak", running::soak(&engine, 2, inferences, MOST_GROWTH_BYTES, used));
    checks
}

/// The manifest beside an engine; null where there is none.
fn manifest(engine: &Path) -> serde_json::Value {
    let mut path = engine.as_os_str().to_owned();
    path.push(".json");
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Memory of this process that lies in RAM.
fn resident_bytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/statm");
    let text = text.map_err(|source| Error::Io { action: "read", path: "/proc/self/statm".into(), source })?;
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<f64>().ok()).unwrap_or(0.0);
    Ok(pages * 4096.0)
}
