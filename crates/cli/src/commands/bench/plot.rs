//! Plots of a report, as SVG: throughput against p99, and how latency is distributed.

use crate::picture::{Area, COLOURS, FONT, LEGEND_ROW, LEGEND_WIDTH, WIDTH, svg as picture, undrawn};
use anyhow::Result;
use plotters::prelude::*;
use std::ops::Range;
use trtforge_runtime::bench::{Mode, Report, Run};

/// Which plots a picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Throughput against p99.
    Throughput,
    /// Distribution of latency.
    Latency,
    /// Both, one above the other.
    Both,
}

const HEIGHT: u32 = 560;

/// A picture of the report.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(report: &Report, kind: Kind) -> Result<String> {
    let height = if kind == Kind::Both { 2 * HEIGHT } else { HEIGHT };
    picture(height, |root| match kind {
        Kind::Throughput => throughput(report, root),
        Kind::Latency => latency(report, root),
        Kind::Both => {
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

/// A line with its name and the points that it joins.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// What stands beside each point; none for a line without marks.
    labels: Vec<String>,
}

/// Points that differ in the batch alone, or in the rate alone, are joined.
fn throughput(report: &Report, area: &Area<'_>) -> Result<()> {
    let mut lines: Vec<Line> = Vec::new();
    for run in &report.runs {
        let Some(latency) = &run.latency_us else { continue };
        let (name, label) = series(&run.mode);
        let known = lines.iter().position(|line| line.name == name);
        let index = known.unwrap_or_else(|| {
            lines.push(Line { name, points: Vec::new(), labels: Vec::new() });
            lines.len() - 1
        });
        lines[index].points.push((run.throughput.inferences_per_s, latency.p99 / 1e3));
        lines[index].labels.push(label);
    }
    let title = format!("{}: throughput against the 99th percentile of latency", file_name(report));
    draw(area, &title, ["inferences per second", "p99, ms"], &lines, None)
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
    let lines: Vec<Line> = report.runs.iter().filter_map(of).collect();
    let title = format!("{}: distribution of latency", file_name(report));
    draw(area, &title, ["latency, ms", "% of the samples that took at most this"], &lines, Some(0.0..100.0))
}

fn draw(area: &Area<'_>, title: &str, axes: [&str; 2], lines: &[Line], height: Option<Range<f64>>) -> Result<()> {
    let most = |axis: fn(&(f64, f64)) -> f64| {
        let most = lines.iter().flat_map(|line| &line.points).map(axis).fold(0.0, f64::max);
        if most > 0.0 { most * 1.1 } else { 1.0 }
    };
    let height = height.unwrap_or_else(|| 0.0..most(|point| point.1));
    let (area, beside) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 18))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..most(|point| point.0), height)
        .map_err(undrawn)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(WHITE).label_style((FONT, 13)).axis_desc_style((FONT, 14));
    mesh.x_desc(axes[0]).y_desc(axes[1]).draw().map_err(undrawn)?;
    for (index, Line { name, points, labels }) in lines.iter().enumerate() {
        // When the colours are used up, lines are dashed.
        let colour = COLOURS[index % COLOURS.len()];
        let (points_of, style) = (points.iter().copied(), colour.stroke_width(2));
        let row = 40 + LEGEND_ROW * index as i32;
        let key = vec![(4, row), (32, row)];
        if index < COLOURS.len() {
            chart.draw_series(LineSeries::new(points_of, style)).map_err(undrawn)?;
            beside.draw(&PathElement::new(key, style)).map_err(undrawn)?;
        } else {
            chart.draw_series(DashedLineSeries::new(points_of, 6, 5, style)).map_err(undrawn)?;
            beside.draw(&plotters::element::DashedPathElement::new(key, 6, 5, style)).map_err(undrawn)?;
        }
        beside.draw(&Text::new(name.clone(), (40, row - 6), (FONT, 13))).map_err(undrawn)?;
        let marked = points.iter().zip(labels);
        let marks = marked.map(|(&point, label)| {
            EmptyElement::at(point)
                + Circle::new((0, 0), 5, colour.filled())
                + Text::new(label.clone(), (9, 4), (FONT, 12).into_font())
        });
        chart.draw_series(marks).map_err(undrawn)?;
    }
    Ok(())
}
