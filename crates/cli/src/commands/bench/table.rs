//! The report as tables.

use crate::table::Table;
use trtforge_builder::format_bytes;
use trtforge_runtime::bench::{Latency, Phase, Report, Run};

/// The report for people: what ran where, then figures of each measurement.
pub fn text(report: &Report) -> String {
    let machine = &report.machine;
    let on = machine.gpu.as_ref().map(|gpu| gpu.name.clone()).or_else(|| machine.cpu.clone());
    let on = on.unwrap_or_else(|| report.engine.device.clone());
    let driver = machine.gpu.as_ref().and_then(|gpu| gpu.driver.clone()).map(|driver| format!(", driver {driver}"));
    let versions = &machine.versions;
    let library = versions.tensorrt.iter().map(|version| format!("TensorRT {version}"));
    let library = library.chain(versions.onnx_runtime.iter().map(|version| format!("ONNX Runtime {version}")));
    let library = library.collect::<Vec<_>>().join(", ");
    let head = format!(
        "{} on {on}{}, {} processors; {library}, trtforge {}\n",
        report.engine.file,
        driver.unwrap_or_default(),
        machine.processors,
        versions.trtforge
    );
    let shapes = report.runs.first().map(shapes).unwrap_or_default();
    format!("{head}{shapes}\n{}\n{}\n{}", latencies(&report.runs), phases(&report.runs), memory(&report.runs))
}

fn shapes(run: &Run) -> String {
    let shapes: Vec<String> = run.shapes.iter().map(|(name, shape)| format!("{name} {shape}")).collect();
    format!("inputs of the first: {}\n", shapes.join(", "))
}

fn latencies(runs: &[Run]) -> String {
    let headers = ["LATENCY, MS", ">INF/S", ">BATCH", ">MEAN", ">P50", ">P90", ">P95", ">P99", ">P99.9", ">MAX"];
    let mut table = Table::new(&headers);
    for run in runs {
        let head = [run.mode.to_string(), figure(run.throughput.inferences_per_s), figure(run.throughput.mean_batch)];
        let cells = run.latency_us.as_ref().map_or_else(Vec::new, latency_cells);
        table.row(head.into_iter().chain(cells));
    }
    table.render()
}

fn latency_cells(latency: &Latency) -> Vec<String> {
    let Latency { mean, p50, p90, p95, p99, p999, max, .. } = *latency;
    let known = |it: f64| figure(it / 1e3);
    let p999 = p999.map_or_else(|| "-".to_owned(), known);
    vec![known(mean), known(p50), known(p90), known(p95), known(p99), p999, known(max)]
}

fn phases(runs: &[Run]) -> String {
    let headers = ["MEDIAN OF A RUN, MS", ">ENQUEUE", ">H2D", ">COMPUTE", ">D2H", ">SM MHZ"];
    let mut table = Table::new(&headers);
    for run in runs {
        let phases = &run.phases_us;
        let phase = |phase: &Option<Phase>| phase.as_ref().map_or_else(|| "-".to_owned(), |it| figure(it.p50 / 1e3));
        let clock = run.clocks.map_or_else(|| "-".to_owned(), |clocks| clocks.sm_mhz.to_string());
        let cells = [phase(&phases.enqueue), phase(&phases.h2d), phase(&phases.compute), phase(&phases.d2h), clock];
        table.row(std::iter::once(run.mode.to_string()).chain(cells));
    }
    table.render()
}

fn memory(runs: &[Run]) -> String {
    let headers = [
        "MEMORY",
        ">WEIGHTS",
        ">ACTIVATION",
        ">IN, OUT",
        ">PINNED",
        ">PEAK DEVICE",
        ">PEAK PROCESS",
        ">HOST ALLOC/INF",
    ];
    let mut table = Table::new(&headers);
    for run in runs {
        let memory = &run.memory;
        let bytes = [memory.weights, memory.activation, memory.io, memory.pinned, memory.peak_device];
        let process = memory.peak_rss.map_or_else(|| "-".to_owned(), format_bytes);
        let allocations = memory.host_alloc_per_inf.map_or_else(|| "-".to_owned(), figure);
        let cells = bytes.map(format_bytes).into_iter().chain([process, allocations]);
        table.row(std::iter::once(run.mode.to_string()).chain(cells));
    }
    table.render()
}

/// A figure to at least three digits, and never in powers of ten.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_keep_three_digits() {
        let shown = [0.0, 0.001_234, 0.1234, 1.234, 12.34, 123.4, 123_456.7].map(figure);
        assert_eq!(shown, ["0", "0.00123", "0.123", "1.23", "12.3", "123", "123457"]);
    }
}
