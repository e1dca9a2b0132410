//! Memory over a network's depth: how much is in use step after step, with the peak marked and named.

use super::{Area, COLOURS, FONT, MEBIBYTE, undrawn};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use trtforge_builder::format_bytes;

/// Longest name that is written into a plot.
const LONGEST_NAME: usize = 32;
/// MiB that the axis reaches to at least: networks of a few kilobytes are drawn flat, and not with an axis of noughts.
const LEAST_HEIGHT: f64 = 0.5;
/// Width below which a plot is for a small screen.
const NARROW: u32 = 600;

/// Bytes in use at each step of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// What network this is.
    pub name: String,
    /// Bytes at each step.
    pub bytes: Vec<u64>,
    /// What runs at the step at which most is in use.
    pub peak: String,
}

impl Curve {
    /// The step at which most is in use, and how much.
    fn highest(&self) -> Option<(usize, u64)> {
        let most = self.bytes.iter().copied().max()?;
        Some((self.bytes.iter().position(|bytes| *bytes == most)?, most))
    }
}

/// Draws the curves. Networks of different numbers of steps are drawn over how far they have come.
///
/// # Errors
/// When they cannot be drawn.
pub fn depth(area: &Area<'_>, title: &str, step: &str, curves: &[Curve]) -> Result<()> {
    let longest = curves.iter().map(|curve| curve.bytes.len()).max().unwrap_or(0).max(1);
    let alike = curves.iter().all(|curve| curve.bytes.len() == longest);
    let (end, axis) = if alike { (longest as f64, step.to_owned()) } else { (100.0, format!("% of each network's {step}s")) };
    let highest = curves.iter().filter_map(Curve::highest).map(|(_, bytes)| bytes).max().unwrap_or(0);
    let top = (highest as f64 / MEBIBYTE).max(LEAST_HEIGHT) * 1.2;
    let narrow = area.dim_in_pixel().0 < NARROW;
    let mut builder = ChartBuilder::on(area);
    if !title.is_empty() {
        builder.caption(title, (FONT, 18));
    }
    let left = if narrow { 48 } else { 64 };
    let mut chart = builder
        .margin(if narrow { 4 } else { 14 })
        .x_label_area_size(44)
        .y_label_area_size(left)
        .build_cartesian_2d(0.0..end, 0.0..top)
        .map_err(undrawn)?;
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).label_style((FONT, 13)).axis_desc_style((FONT, 14));
    let (whole, tenths) = (|step: &f64| format!("{step:.0}"), |mebibytes: &f64| format!("{mebibytes:.1}"));
    mesh.x_labels(if narrow { 5 } else { 11 }).y_labels(7).x_label_formatter(&whole).y_label_formatter(&tenths);
    mesh.x_desc(axis).y_desc("MiB").draw().map_err(undrawn)?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let scale = end / curve.bytes.len().max(1) as f64;
        let outline = outline(&curve.bytes, scale);
        if curves.len() == 1 {
            let ground = [(end, 0.0), (0.0, 0.0)];
            let filled = outline.iter().copied().chain(ground).collect::<Vec<_>>();
            chart.draw_series([Polygon::new(filled, colour.mix(0.2))]).map_err(undrawn)?;
        }
        chart.draw_series(LineSeries::new(outline, colour.stroke_width(2))).map_err(undrawn)?;
        let Some((step, bytes)) = curve.highest() else { continue };
        let at = ((step as f64 + 0.5) * scale, bytes as f64 / MEBIBYTE);
        let side = if at.0 > end / 2.0 { (HPos::Right, -8) } else { (HPos::Left, 8) };
        let style = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(side.0, VPos::Bottom));
        let text = format!("{}{}: {}", prefix(&curve.name), shortened(&curve.peak), format_bytes(bytes));
        let mark = EmptyElement::at(at) + Circle::new((0, 0), 4, colour.filled()) + Text::new(text, (side.1, -4), style);
        chart.draw_series([mark]).map_err(undrawn)?;
    }
    Ok(())
}

fn prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}, ") }
}

/// A line that is level during each step.
fn outline(bytes: &[u64], scale: f64) -> Vec<(f64, f64)> {
    let level = |(step, bytes): (usize, &u64)| {
        let height = *bytes as f64 / MEBIBYTE;
        [(step as f64 * scale, height), ((step + 1) as f64 * scale, height)]
    };
    bytes.iter().enumerate().flat_map(level).collect()
}

/// The end of a long name, which tells most.
fn shortened(name: &str) -> String {
    let length = name.chars().count();
    match length > LONGEST_NAME {
        true => format!("…{}", name.chars().skip(length - LONGEST_NAME).collect::<String>()),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_name_stays() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&format!("{}tail", "é".repeat(40))), format!("…{}tail", "é".repeat(28)));
    }

    #[test]
    fn the_first_of_equal_peaks_is_marked() {
        let curve = Curve { name: String::new(), bytes: vec![1, 7, 3, 7], peak: "n".into() };
        assert_eq!(curve.highest(), Some((1, 7)));
        assert_eq!(Curve { bytes: vec![], ..curve }.highest(), None);
    }
}
