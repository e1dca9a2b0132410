//! Memory over a network's depth: how much is in use step after step, with the peak marked and named.
//!
//! The name of a single curve's peak stands beside it; those of several stand below the plot, where no curve crosses them.

use super::{Area, COLOURS, FONT, LEGEND_ROW, MEBIBYTE, undrawn};
use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
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

    /// What network this is, and its peak.
    fn words(&self) -> String {
        let peak = format!("{}: {}", shortened(&self.peak), format_bytes(self.highest().map_or(0, |(_, bytes)| bytes)));
        if self.name.is_empty() { peak } else { format!("{}, {peak}", self.name) }
    }
}

/// Draws the curves. Networks of different numbers of steps are drawn over how far they have come.
///
/// # Errors
/// When they cannot be drawn.
pub fn depth(area: &Area<'_>, title: &str, step: &str, curves: &[Curve]) -> Result<()> {
    let longest = curves.iter().map(|curve| curve.bytes.len()).max().unwrap_or(0).max(1);
    let alike = curves.iter().all(|curve| curve.bytes.len() == longest);
    let highest = curves.iter().filter_map(Curve::highest).map(|(_, bytes)| bytes).max().unwrap_or(0);
    let frame = Frame {
        end: if alike { longest as f64 } else { 100.0 },
        top: (highest as f64 / MEBIBYTE).max(LEAST_HEIGHT) * 1.2,
        axis: if alike { step.to_owned() } else { format!("% of each network's {step}s") },
        left: if area.dim_in_pixel().0 < NARROW { 48 } else { 64 },
    };
    let keys = if curves.len() > 1 { LEGEND_ROW as u32 * curves.len() as u32 } else { 0 };
    let (plot, below) = area.split_vertically(area.dim_in_pixel().1.saturating_sub(keys));
    let mut chart = frame.chart(&plot, title)?;
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        frame.curve(&mut chart, curve, colour, curves.len() == 1)?;
        match curves.len() {
            1 => frame.label(&mut chart, curve)?,
            _ => key(&below, (frame.left as i32 + 14, LEGEND_ROW * index as i32 + 8), colour, curve.words())?,
        }
    }
    Ok(())
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What curves are drawn in.
struct Frame {
    /// Where the axis of steps ends.
    end: f64,
    /// Where the axis of MiB ends.
    top: f64,
    /// What the axis of steps is called.
    axis: String,
    /// Pixels before the plot.
    left: u32,
}

impl Frame {
    fn chart<'a, 'b>(&self, area: &'a Area<'b>, title: &str) -> Result<Chart<'a, 'b>> {
        let narrow = area.dim_in_pixel().0 < NARROW;
        let mut builder = ChartBuilder::on(area);
        if !title.is_empty() {
            builder.caption(title, (FONT, 18));
        }
        builder.margin(if narrow { 4 } else { 14 }).x_label_area_size(44).y_label_area_size(self.left);
        let mut chart = builder.build_cartesian_2d(0.0..self.end, 0.0..self.top).map_err(undrawn)?;
        let (whole, tenths) = (|step: &f64| format!("{step:.0}"), |mebibytes: &f64| format!("{mebibytes:.1}"));
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).label_style((FONT, 13)).axis_desc_style((FONT, 14));
        mesh.x_labels(if narrow { 5 } else { 11 }).y_labels(7).x_label_formatter(&whole).y_label_formatter(&tenths);
        mesh.x_desc(&self.axis).y_desc("MiB").draw().map_err(undrawn)?;
        drop(mesh);
        Ok(chart)
    }

    fn scale(&self, curve: &Curve) -> f64 {
        self.end / curve.bytes.len().max(1) as f64
    }

    fn peak(&self, curve: &Curve) -> Option<(f64, f64)> {
        let (step, bytes) = curve.highest()?;
        Some(((step as f64 + 0.5) * self.scale(curve), bytes as f64 / MEBIBYTE))
    }

    fn curve(&self, chart: &mut Chart<'_, '_>, curve: &Curve, colour: RGBColor, filled: bool) -> Result<()> {
        let outline = outline(&curve.bytes, self.scale(curve));
        if filled {
            let ground = outline.iter().copied().chain([(self.end, 0.0), (0.0, 0.0)]).collect::<Vec<_>>();
            chart.draw_series([Polygon::new(ground, colour.mix(0.2))]).map_err(undrawn)?;
        }
        chart.draw_series(LineSeries::new(outline, colour.stroke_width(2))).map_err(undrawn)?;
        let mark = self.peak(curve).map(|at| Circle::new(at, 4, colour.filled()));
        chart.draw_series(mark).map_err(undrawn)?;
        Ok(())
    }

    /// Names the peak beside its mark.
    fn label(&self, chart: &mut Chart<'_, '_>, curve: &Curve) -> Result<()> {
        let label = self.peak(curve).map(|at| {
            let (side, gap) = if at.0 > self.end / 2.0 { (HPos::Right, -8) } else { (HPos::Left, 8) };
            let style = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(side, VPos::Bottom));
            EmptyElement::at(at) + Text::new(curve.words(), (gap, -4), style)
        });
        chart.draw_series(label).map_err(undrawn)?;
        Ok(())
    }
}

fn key(area: &Area<'_>, (x, y): (i32, i32), colour: RGBColor, words: String) -> Result<()> {
    let style = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&PathElement::new([(x, y), (x + 28, y)], colour.stroke_width(2))).map_err(undrawn)?;
    area.draw(&Text::new(words, (x + 36, y), style)).map_err(undrawn)
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
