//! A recording as a picture: the ledger's classes on one another, the process, the device and throughput, over time.
//!
//! Each point shows the most of its samples, so that no peak is hidden.

use crate::picture::{Area, COLOURS, FONT, LEGEND_ROW, LEGEND_WIDTH, WIDTH, svg as picture, undrawn};
use anyhow::Result;
use plotters::prelude::*;
use std::ops::Range;
use trtforge_runtime::Class;
use trtforge_runtime::monitor::{Bucket, Mark, Quantity, Recording};

const TITLE_HEIGHT: u32 = 40;
const PANEL_HEIGHT: u32 = 240;
const MARK_ROW: i32 = 18;
/// Where number, time and label of a mark stand.
const MARK_COLUMNS: [i32; 3] = [80, 110, 190];
/// More marks are counted, not listed.
const MOST_MARKS: usize = 40;
const MARK_COLOUR: RGBColor = RGBColor(120, 120, 120);
const MIB: f64 = (1u64 << 20) as f64;

/// A picture of the recording.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(recording: &Recording) -> Result<String> {
    let panels: Vec<Panel> = panels(recording).into_iter().filter(|panel| !panel.lines.is_empty()).collect();
    let listed = recording.marks.len().min(MOST_MARKS + 1) as u32;
    let below = if listed > 0 { 30 + listed * MARK_ROW as u32 } else { 10 };
    let above = TITLE_HEIGHT + PANEL_HEIGHT * panels.len() as u32;
    picture(above + below, |root| {
        let (title, mut rest) = root.split_vertically(TITLE_HEIGHT);
        title.draw(&Text::new(heading(recording), (14, 12), (FONT, 18))).map_err(undrawn)?;
        for panel in &panels {
            let (area, after) = rest.split_vertically(PANEL_HEIGHT);
            panel.draw(&area, time(recording), &recording.marks)?;
            rest = after;
        }
        list_marks(&rest, &recording.marks)
    })
}

fn heading(recording: &Recording) -> String {
    let per_point = recording.timeline.samples_per_bucket();
    let rest = if per_point > 1 { format!(", {per_point} to a point, which shows the most") } else { String::new() };
    format!("{}: {} samples in {:.1} s{rest}", recording.title, recording.samples(), recording.duration().as_secs_f64())
}

fn time(recording: &Recording) -> Range<f64> {
    let ends = recording.buckets().first().zip(recording.buckets().last());
    let (from, to) = ends.map_or((0.0, 1.0), |(first, last)| (first.from.as_secs_f64(), last.to.as_secs_f64()));
    from..to.max(from + 1e-3)
}

/// A plot over time.
struct Panel {
    unit: &'static str,
    /// From the uppermost down where they are stacked.
    lines: Vec<Line>,
    filled: bool,
}

struct Line {
    name: String,
    colour: RGBColor,
    dashed: bool,
    points: Vec<(f64, f64)>,
}

fn panels(recording: &Recording) -> [Panel; 4] {
    let bytes = |quantity: Quantity, name: &str, colour: usize| {
        let value = |bucket: &Bucket| Some(bucket.most.get(quantity)? as f64 / MIB);
        line(recording, name.to_owned(), COLOURS[colour], value)
    };
    let of =
        |lines: Vec<Option<Line>>, unit| Panel { unit, lines: lines.into_iter().flatten().collect(), filled: false };
    let process =
        vec![bytes(Quantity::Resident, "process, resident", 0), bytes(Quantity::GpuProcess, "process, on GPUs", 1)];
    let device = vec![bytes(Quantity::DeviceUsed, "device, in use by all", 3)];
    let counted = recording.most(Quantity::Inferences) > Some(0);
    let points = recording.buckets().iter().zip(recording.throughput());
    let points = points.filter_map(|(bucket, rate)| Some((bucket.to.as_secs_f64(), rate?))).collect();
    let rate = Line { name: "inferences per second".to_owned(), colour: COLOURS[2], dashed: false, points };
    [ledger(recording), of(process, "MiB"), of(device, "MiB"), of(vec![counted.then_some(rate)], "per second")]
}

/// The classes that were ever held, each on top of those before, and the budget.
fn ledger(recording: &Recording) -> Panel {
    let held = |class: &Class| recording.most(Quantity::of(*class)) > Some(0);
    let classes: Vec<Class> = Class::ALL.into_iter().filter(held).collect();
    let stacked = |index: usize| {
        let sum = |bucket: &Bucket| {
            let below = classes[..=index].iter().map(|&class| bucket.most.get(Quantity::of(class)).unwrap_or(0));
            Some(below.sum::<u64>() as f64 / MIB)
        };
        line(recording, format!("ledger: {}", classes[index]), COLOURS[index], sum)
    };
    let budget = |bucket: &Bucket| Some(bucket.most.get(Quantity::DeviceBudget)? as f64 / MIB);
    let budget = line(recording, "budget on the device".to_owned(), BLACK, budget);
    let mut lines: Vec<Line> = (0..classes.len()).rev().filter_map(stacked).collect();
    lines.extend(budget.map(|line| Line { dashed: true, ..line }));
    Panel { unit: "MiB", lines, filled: true }
}

fn line(recording: &Recording, name: String, colour: RGBColor, value: impl Fn(&Bucket) -> Option<f64>) -> Option<Line> {
    let points = recording.buckets().iter().filter_map(|bucket| Some((bucket.to.as_secs_f64(), value(bucket)?)));
    let points: Vec<(f64, f64)> = points.collect();
    (!points.is_empty()).then_some(Line { name, colour, dashed: false, points })
}

impl Panel {
    fn draw(&self, area: &Area<'_>, time: Range<f64>, marks: &[Mark]) -> Result<()> {
        let most = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
        let height = 0.0..if most > 0.0 { most * 1.1 } else { 1.0 };
        let (plot, beside) = area.split_horizontally(WIDTH - LEGEND_WIDTH);
        let mut builder = ChartBuilder::on(&plot);
        builder.margin(10).x_label_area_size(40).y_label_area_size(70);
        let mut chart = builder.build_cartesian_2d(time.clone(), height.clone()).map_err(undrawn)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(WHITE).label_style((FONT, 13)).axis_desc_style((FONT, 14));
        mesh.x_desc("seconds").y_desc(self.unit).draw().map_err(undrawn)?;
        for (index, line) in self.lines.iter().enumerate() {
            let (points, style) = (line.points.iter().copied(), line.colour.stroke_width(2));
            let row = 24 + LEGEND_ROW * index as i32;
            let key = vec![(4, row), (32, row)];
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 6, 5, style)).map_err(undrawn)?;
                beside.draw(&plotters::element::DashedPathElement::new(key, 6, 5, style)).map_err(undrawn)?;
            } else if self.filled {
                chart.draw_series(AreaSeries::new(points, 0.0, line.colour.filled())).map_err(undrawn)?;
                beside.draw(&Rectangle::new([(4, row - 6), (32, row + 6)], line.colour.filled())).map_err(undrawn)?;
            } else {
                chart.draw_series(LineSeries::new(points, style)).map_err(undrawn)?;
                beside.draw(&PathElement::new(key, style)).map_err(undrawn)?;
            }
            beside.draw(&Text::new(line.name.clone(), (40, row - 6), (FONT, 13))).map_err(undrawn)?;
        }
        let within = marks.iter().enumerate().filter(|(_, mark)| time.contains(&mark.at_s));
        let verticals = within.map(|(index, mark)| {
            EmptyElement::at((mark.at_s, height.end))
                + PathElement::new(vec![(0, 0), (0, PANEL_HEIGHT as i32 - 60)], MARK_COLOUR.stroke_width(1))
                + Text::new((index + 1).to_string(), (3, 0), (FONT, 11).into_font().color(&MARK_COLOUR))
        });
        chart.draw_series(verticals).map_err(undrawn)?;
        Ok(())
    }
}

/// What the numbers at the marks stand for.
fn list_marks(area: &Area<'_>, marks: &[Mark]) -> Result<()> {
    let listed = marks.iter().take(MOST_MARKS).enumerate();
    let mut rows: Vec<[String; 3]> = listed
        .map(|(index, mark)| [(index + 1).to_string(), format!("{:.2} s", mark.at_s), mark.label.clone()])
        .collect();
    if marks.len() > MOST_MARKS {
        rows.push([String::new(), String::new(), format!("and {} more", marks.len() - MOST_MARKS)]);
    }
    for (index, row) in rows.into_iter().enumerate() {
        for (text, column) in row.into_iter().zip(MARK_COLUMNS) {
            let place = (column, 8 + MARK_ROW * index as i32);
            area.draw(&Text::new(text, place, (FONT, 13))).map_err(undrawn)?;
        }
    }
    Ok(())
}
