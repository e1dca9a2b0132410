//! Plots of a report, as SVG: throughput against p99, and how latency is distributed.

use crate::plots::{Area, Background, Line, WIDTH, lines, picture};
use anyhow::Result;
use trtforge_runtime::bench::{Mode, Report, Run};

/// Files of the plots where each has its own, in the order of [`svg`].
pub const NAMES: [&str; 2] = ["throughput-p99.svg", "latency.svg"];

const HEIGHT: u32 = 560;

/// A picture of the report: of one plot, or of both, one above the other.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(report: &Report, plot: Option<usize>) -> Result<String> {
    let height = if plot.is_none() { 2 * HEIGHT } else { HEIGHT };
    picture((WIDTH, height), Background::White, |root| match plot {
        Some(0) => throughput(report, root),
        Some(_) => latency(report, root),
        None => {
            let (above, below) = root.split_vertically(HEIGHT);
            throughput(report, &above)?;
            latency(report, &below)
        }
    })
}

fn file_name(report: &Report) -> String {
    let path = std::path::Path::new(&report.engine.file);
    path.file_name().map_or_else(|| report.engine.file.clone(), |name| name.to_string_lossy().into_owned())
}

/// Points that differ in the batch alone, or in the rate alone, are joined.
fn throughput(report: &Report, area: &Area<'_>) -> Result<()> {
    let mut joined: Vec<Line> = Vec::new();
    for run in &report.runs {
        let Some(latency) = &run.latency_us else { continue };
        let (name, label) = series(&run.mode);
        let known = joined.iter().position(|line| line.name == name);
        let index = known.unwrap_or_else(|| {
            joined.push(Line { name, points: Vec::new(), labels: Vec::new() });
            joined.len() - 1
        });
        joined[index].points.push((run.throughput.inferences_per_s, latency.p99 / 1e3));
        joined[index].labels.push(label);
    }
    let title = format!("{}: throughput against the 99th percentile of latency", file_name(report));
    lines(area, &title, ["inferences per second", "p99, ms"], &joined, None)
}

/// The line that a measurement lies on, and what tells it from the others there.
fn series(mode: &Mode) -> (String, String) {
    match mode.rate_per_s {
        None => {
            let batch = format!("batch {}", mode.batch);
            let rest = mode.to_string().replacen(&format!("{batch}, "), "", 1);
            (format!("closed loop, {rest}"), batch)
        }
        Some(rate) => {
            let line = Mode { rate_per_s: None, ..mode.clone() };
            (format!("open loop, {line}"), format!("{rate}/s"))
        }
    }
}

fn latency(report: &Report, area: &Area<'_>) -> Result<()> {
    let of = |run: &Run| {
        let distribution = &run.latency_us.as_ref()?.distribution;
        let points = distribution.iter().zip(&report.quantiles);
        let points = points.map(|(microseconds, quantile)| (microseconds / 1e3, quantile * 100.0)).collect();
        Some(Line { name: run.mode.to_string(), points, labels: Vec::new() })
    };
    let drawn: Vec<Line> = report.runs.iter().filter_map(of).collect();
    let title = format!("{}: distribution of latency", file_name(report));
    lines(area, &title, ["latency, ms", "% of the samples that took at most this"], &drawn, Some(0.0..100.0))
}
