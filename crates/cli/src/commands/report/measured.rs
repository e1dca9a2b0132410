//! What was measured of the engine after it was built: throughput and latency, leaks, memory over time.

use super::elements::{Cell, broad_figure, number, table, text};
use super::sources::{MonitorView, SoakView, WatchedRow};
use crate::commands::bench::plot;
use crate::plots::{Background, Line, MEBIBYTE, lines, picture};
use anyhow::Result;
use maud::{Markup, html};
use trtforge_builder::{counted, format_bytes};
use trtforge_runtime::bench::{Report, Run};

/// Series of a recording that would dwarf the others, or are limits.
const NOT_DRAWN: [&str; 4] = ["virtual_bytes", "device_free_bytes", "device_budget_bytes", "pinned_budget_bytes"];
/// What a soak watches that is not bytes.
const COUNTED: [&str; 2] = ["open files", "threads"];
const SIZE: (u32, u32) = (1040, 380);

/// Throughput and latency.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn bench(report: &Report) -> Result<Markup> {
    let fastest = report.runs.iter().map(|run| run.throughput.inferences_per_s).fold(0.0, f64::max);
    let row = |run: &Run| {
        let rate = run.throughput.inferences_per_s;
        let latency = |of: fn(&trtforge_runtime::bench::Latency) -> f64| {
            number(run.latency_us.as_ref().map_or_else(|| "–".to_owned(), |it| format!("{:.2}", of(it) / 1e3)))
        };
        vec![
            text(run.mode.to_string()),
            Cell::Bar(format!("{rate:.1}"), rate / fastest),
            latency(|it| it.p50),
            latency(|it| it.p90),
            latency(|it| it.p99),
        ]
    };
    let headers = ["Mode", ">Inferences per second", ">p50, ms", ">p90, ms", ">p99, ms"];
    let description = format!("Distribution of latency of {}", report.engine.file);
    Ok(html! {
        p { "Measured on " (report.engine.device) ": " (report.engine.file) "." }
        (table("Throughput and latency", &headers, report.runs.iter().map(row).collect()))
        (broad_figure(&description, plot::svg(report, Some(1))?))
        @if !report.notes.is_empty() { ul { @for note in &report.notes { li { (note) } } } }
    })
}

/// Whether anything leaks.
pub fn soak(soak: &SoakView) -> Markup {
    let leaks = soak.watched.iter().filter(|watched| watched.leaks).count();
    let row = |watched: &WatchedRow| {
        let verdict = html! { span.bad[watched.leaks] { (watched.verdict) } };
        let [first, last] = [watched.first, watched.last].map(|value| match COUNTED.contains(&watched.what.as_str()) {
            true => number(value),
            false => number(format_bytes(value)),
        });
        vec![text(&watched.what), first, last, Cell::Marked(verdict)]
    };
    let rows = soak.watched.iter().map(row).collect();
    html! {
        p {
            @match leaks { 0 => strong.good { "Nothing leaks" }, _ => strong.bad { "Something leaks" } }
            ": " (counted(soak.iterations as usize, "inference")) " in " (counted(soak.sessions as usize, "session")) ", " (format!("{:.1}", soak.seconds)) " s."
        }
        (table("What was watched, first and last", &["What", ">First", ">Last", "Verdict"], rows))
    }
}

/// Memory over time.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn monitor(recording: &MonitorView) -> Result<Markup> {
    let drawn: Vec<Line> = recording.series.keys().filter_map(|name| line(recording, name)).collect();
    let axes = ["seconds", "MiB"];
    let drawing = picture(SIZE, Background::None, |area| lines(area, "", axes, &drawn, None))?;
    let rows = recording.series.iter().map(|(name, series)| {
        let known = |values: &[Option<u64>]| values.iter().flatten().copied().collect::<Vec<_>>();
        let (last, most) = (known(&series.last), known(&series.most));
        let shown = |value: Option<&u64>| match value {
            Some(bytes) if name.ends_with("_bytes") => number(format_bytes(*bytes)),
            Some(count) => number(count),
            None => number("–"),
        };
        vec![text(name), shown(last.first()), shown(last.last()), shown(most.iter().max())]
    });
    let rows = rows.collect();
    let marks =
        recording.marks.iter().map(|mark| vec![number(format!("{:.1}", mark.at_s)), text(&mark.label)]).collect();
    let description = format!("Memory over time: {}", recording.title);
    Ok(html! {
        @if !drawn.is_empty() { (broad_figure(&description, drawing)) }
        (table("What was watched", &["What", ">First", ">Last", ">Most"], rows))
        (table("Events", &[">Second", "Event"], marks))
    })
}

fn line(recording: &MonitorView, name: &str) -> Option<Line> {
    if !name.ends_with("_bytes") || NOT_DRAWN.contains(&name) {
        return None;
    }
    let known = recording.to_s.iter().zip(&recording.series.get(name)?.most);
    let points: Vec<(f64, f64)> = known
        .filter_map(|(seconds, bytes)| Some((*seconds, bytes.as_ref().map(|it| *it as f64 / MEBIBYTE)?)))
        .collect();
    let name = name.trim_end_matches("_bytes").replace('_', " ");
    (!points.is_empty()).then_some(Line { name, points, labels: Vec::new() })
}
