//! A recording as a picture: the ledger's classes on one another, the process, the device and throughput, over time.
//!
//! Each point shows the most of its samples, so that no peak is hidden.

use crate::plots::{Background, Event, MEBIBYTE, Panel, Trace, WIDTH, events_height, heading, list_events, picture};
use anyhow::Result;
use std::ops::Range;
use trtforge_runtime::Class;
use trtforge_runtime::monitor::{Bucket, Quantity, Recording};

const TITLE_HEIGHT: u32 = 40;
const PANEL_HEIGHT: u32 = 240;

/// A picture of the recording.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(recording: &Recording) -> Result<String> {
    let panels: Vec<Panel> = panels(recording).into_iter().filter(|panel| !panel.traces.is_empty()).collect();
    let events: Vec<Event<'_>> =
        recording.marks.iter().map(|mark| Event { at_s: mark.at_s, label: &mark.label }).collect();
    let height = TITLE_HEIGHT + PANEL_HEIGHT * panels.len() as u32 + events_height(events.len());
    picture((WIDTH, height), Background::White, |root| {
        let (title, mut rest) = root.split_vertically(TITLE_HEIGHT);
        heading(&title, &title_of(recording))?;
        for panel in &panels {
            let (area, after) = rest.split_vertically(PANEL_HEIGHT);
            panel.draw(&area, time(recording), &events)?;
            rest = after;
        }
        list_events(&rest, &events)
    })
}

fn title_of(recording: &Recording) -> String {
    let per_point = recording.timeline.samples_per_bucket();
    let rest = if per_point > 1 { format!(", {per_point} to a point, which shows the most") } else { String::new() };
    format!("{}: {} samples in {:.1} s{rest}", recording.title, recording.samples(), recording.duration().as_secs_f64())
}

fn time(recording: &Recording) -> Range<f64> {
    let ends = recording.buckets().first().zip(recording.buckets().last());
    let (from, to) = ends.map_or((0.0, 1.0), |(first, last)| (first.from.as_secs_f64(), last.to.as_secs_f64()));
    from..to.max(from + 1e-3)
}

fn panels(recording: &Recording) -> [Panel; 4] {
    let bytes = |quantity: Quantity, name: &str, colour: usize| {
        let value = |bucket: &Bucket| Some(bucket.most.get(quantity)? as f64 / MEBIBYTE);
        trace(recording, name.to_owned(), Some(colour), value)
    };
    let of = |traces: Vec<Option<Trace>>, unit| Panel {
        unit,
        traces: traces.into_iter().flatten().collect(),
        filled: false,
    };
    let process =
        vec![bytes(Quantity::Resident, "process, resident", 0), bytes(Quantity::GpuProcess, "process, on GPUs", 1)];
    let device = vec![bytes(Quantity::DeviceUsed, "device, in use by all", 3)];
    let counted = recording.most(Quantity::Inferences) > Some(0);
    let points = recording.buckets().iter().zip(recording.throughput());
    let points = points.filter_map(|(bucket, rate)| Some((bucket.to.as_secs_f64(), rate?))).collect();
    let rate = Trace { name: "inferences per second".to_owned(), colour: Some(2), points };
    [ledger(recording), of(process, "MiB"), of(device, "MiB"), of(vec![counted.then_some(rate)], "per second")]
}

/// The classes that were ever held, each on top of those before, and the budget.
fn ledger(recording: &Recording) -> Panel {
    let held = |class: &Class| recording.most(Quantity::of(*class)) > Some(0);
    let classes: Vec<Class> = Class::ALL.into_iter().filter(held).collect();
    let stacked = |index: usize| {
        let sum = |bucket: &Bucket| {
            let below = classes[..=index].iter().map(|&class| bucket.most.get(Quantity::of(class)).unwrap_or(0));
            Some(below.sum::<u64>() as f64 / MEBIBYTE)
        };
        trace(recording, format!("ledger: {}", classes[index]), Some(index), sum)
    };
    let budget = |bucket: &Bucket| Some(bucket.most.get(Quantity::DeviceBudget)? as f64 / MEBIBYTE);
    let mut traces: Vec<Trace> = (0..classes.len()).rev().filter_map(stacked).collect();
    traces.extend(trace(recording, "budget on the device".to_owned(), None, budget));
    Panel { unit: "MiB", traces, filled: true }
}

fn trace(
    recording: &Recording,
    name: String,
    colour: Option<usize>,
    value: impl Fn(&Bucket) -> Option<f64>,
) -> Option<Trace> {
    let points = recording.buckets().iter().filter_map(|bucket| Some((bucket.to.as_secs_f64(), value(bucket)?)));
    let points: Vec<(f64, f64)> = points.collect();
    (!points.is_empty()).then_some(Trace { name, colour, points })
}
