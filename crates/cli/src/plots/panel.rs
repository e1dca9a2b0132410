//! Plots over time, one above the other on the same seconds, with events that go through all of them.

use super::{Area, COLOURS, FONT, LEGEND_ROW, LEGEND_WIDTH, undrawn};
use anyhow::Result;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use std::ops::Range;

const MARK_ROW: u32 = 18;
/// Where number, time and label of an event stand.
const MARK_COLUMNS: [i32; 3] = [80, 110, 190];
/// More events are counted, not listed.
const MOST_MARKS: usize = 40;
const MARK_COLOUR: RGBColor = RGBColor(120, 120, 120);

/// A plot over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What its height is in.
    pub unit: &'static str,
    /// What it shows, from the uppermost down where they are stacked.
    pub traces: Vec<Trace>,
    /// Whether what is below a trace is filled.
    pub filled: bool,
}

/// A quantity over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its name.
    pub name: String,
    /// Number of its colour; none for a limit, which is black and dashed.
    pub colour: Option<usize>,
    /// Seconds and values.
    pub points: Vec<(f64, f64)>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event<'a> {
    /// When, in seconds.
    pub at_s: f64,
    /// What happened.
    pub label: &'a str,
}

impl Panel {
    /// Draws it over a range of seconds.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn draw(&self, area: &Area<'_>, time: Range<f64>, events: &[Event<'_>]) -> Result<()> {
        let most = self.traces.iter().flat_map(|trace| &trace.points).map(|point| point.1).fold(0.0, f64::max);
        let top = if most > 0.0 { most * 1.1 } else { 1.0 };
        let (width, height) = area.dim_in_pixel();
        let (plot, beside) = area.split_horizontally(width.saturating_sub(LEGEND_WIDTH));
        let mut builder = ChartBuilder::on(&plot);
        builder.margin(10).x_label_area_size(40).y_label_area_size(70);
        let mut chart = builder.build_cartesian_2d(time.clone(), 0.0..top).map_err(undrawn)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(WHITE).label_style((FONT, 13)).axis_desc_style((FONT, 14));
        mesh.x_desc("seconds").y_desc(self.unit).draw().map_err(undrawn)?;
        for (index, trace) in self.traces.iter().enumerate() {
            let points = trace.points.iter().copied();
            let row = 24 + LEGEND_ROW * index as i32;
            let key = vec![(4, row), (32, row)];
            match trace.colour.map(|number| COLOURS[number % COLOURS.len()]) {
                None => {
                    let style = BLACK.stroke_width(2);
                    chart.draw_series(DashedLineSeries::new(points, 6, 5, style)).map_err(undrawn)?;
                    beside.draw(&DashedPathElement::new(key, 6, 5, style)).map_err(undrawn)?;
                }
                Some(colour) if self.filled => {
                    chart.draw_series(AreaSeries::new(points, 0.0, colour.filled())).map_err(undrawn)?;
                    beside.draw(&Rectangle::new([(4, row - 6), (32, row + 6)], colour.filled())).map_err(undrawn)?;
                }
                Some(colour) => {
                    let style = colour.stroke_width(2);
                    chart.draw_series(LineSeries::new(points, style)).map_err(undrawn)?;
                    beside.draw(&PathElement::new(key, style)).map_err(undrawn)?;
                }
            }
            beside.draw(&Text::new(trace.name.clone(), (40, row - 6), (FONT, 13))).map_err(undrawn)?;
        }
        let within = events.iter().enumerate().filter(|(_, event)| time.contains(&event.at_s));
        let verticals = within.map(|(index, event)| {
            EmptyElement::at((event.at_s, top))
                + PathElement::new(vec![(0, 0), (0, height as i32 - 60)], MARK_COLOUR.stroke_width(1))
                + Text::new((index + 1).to_string(), (3, 0), (FONT, 11).into_font().color(&MARK_COLOUR))
        });
        chart.draw_series(verticals).map_err(undrawn)?;
        Ok(())
    }
}

/// The height that a list of so many events takes, in pixels.
pub fn events_height(count: usize) -> u32 {
    let listed = count.min(MOST_MARKS + 1) as u32;
    if listed > 0 { 30 + listed * MARK_ROW } else { 10 }
}

/// Draws a list of what the numbers at the events stand for.
///
/// # Errors
/// When it cannot be drawn.
pub fn list_events(area: &Area<'_>, events: &[Event<'_>]) -> Result<()> {
    let listed = events.iter().take(MOST_MARKS).enumerate();
    let mut rows: Vec<[String; 3]> = listed
        .map(|(index, event)| [(index + 1).to_string(), format!("{:.2} s", event.at_s), event.label.to_owned()])
        .collect();
    if events.len() > MOST_MARKS {
        rows.push([String::new(), String::new(), format!("and {} more", events.len() - MOST_MARKS)]);
    }
    for (index, row) in rows.into_iter().enumerate() {
        for (text, column) in row.into_iter().zip(MARK_COLUMNS) {
            let place = (column, 8 + MARK_ROW as i32 * index as i32);
            area.draw(&Text::new(text, place, (FONT, 13))).map_err(undrawn)?;
        }
    }
    Ok(())
}
