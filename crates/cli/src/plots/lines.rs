//! Lines through points, each with its name beside the plot.

use super::{Area, COLOURS, FONT, LEGEND_ROW, LEGEND_WIDTH, undrawn};
use anyhow::Result;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use std::ops::Range;

/// A line with its name and the points that it joins.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// The points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
    /// What stands beside each point; none for a line without marks.
    pub labels: Vec<String>,
}

/// Draws lines with a title; the height follows the points where none is given.
///
/// # Errors
/// When they cannot be drawn.
pub fn lines(area: &Area<'_>, title: &str, axes: [&str; 2], lines: &[Line], height: Option<Range<f64>>) -> Result<()> {
    let most = |axis: fn(&(f64, f64)) -> f64| {
        let most = lines.iter().flat_map(|line| &line.points).map(axis).fold(0.0, f64::max);
        if most > 0.0 { most * 1.1 } else { 1.0 }
    };
    let height = height.unwrap_or_else(|| 0.0..most(|point| point.1));
    let (plot, beside) = area.split_horizontally(area.dim_in_pixel().0.saturating_sub(LEGEND_WIDTH));
    let mut chart = ChartBuilder::on(&plot)
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
        let colour = COLOURS[index % COLOURS.len()];
        let (points_of, style) = (points.iter().copied(), colour.stroke_width(2));
        let row = 40 + LEGEND_ROW * index as i32;
        let key = vec![(4, row), (32, row)];
        if index < COLOURS.len() {
            chart.draw_series(LineSeries::new(points_of, style)).map_err(undrawn)?;
            beside.draw(&PathElement::new(key, style)).map_err(undrawn)?;
        } else {
            chart.draw_series(DashedLineSeries::new(points_of, 6, 5, style)).map_err(undrawn)?;
            beside.draw(&DashedPathElement::new(key, 6, 5, style)).map_err(undrawn)?;
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
