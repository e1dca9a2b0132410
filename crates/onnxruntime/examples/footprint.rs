//! Times and memory of what this crate does to a model: `cargo run --release --example footprint -- MODEL.onnx ...`
//!
//! Each line is one step: its wall time, then the private and the file-backed memory that is resident after it, and the
//! most that was resident so far.

use std::time::Instant;

use trtforge_graph::Model;
use trtforge_onnxruntime::{OnnxRuntime, Optimization, SessionConfig};

fn report(step: &str, started: Instant) {
    let elapsed = started.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
        line.trim_start_matches(':').split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0) / 1024
    };
    let (private, mapped, most): (u64, u64, u64) = (mib("RssAnon"), mib("RssFile"), mib("VmHWM"));
    println!("{step:<28} {elapsed:>10.1?}   private {private:>5} MiB  mapped {mapped:>5} MiB  most {most:>5} MiB");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let runtime = OnnxRuntime::load()?;
    report("load", started);
    for path in std::env::args().skip(1) {
        println!("{path}");
        let started = Instant::now();
        let model = Model::read(path.as_ref())?;
        report("read", started);
        let started = Instant::now();
        let types = runtime.infer_types(&model)?;
        report(&format!("infer {} types", types.len()), started);
        let started = Instant::now();
        let simplified = runtime.optimize(&model)?;
        report("optimize", started);
        for optimization in [Optimization::Disabled, Optimization::Basic, Optimization::All] {
            let started = Instant::now();
            let session = runtime.session(&simplified, &SessionConfig { optimization, ..SessionConfig::default() })?;
            report(&format!("session {optimization:?}"), started);
            drop(session);
        }
        report("closed", Instant::now());
    }
    Ok(())
}
