//! Pictures of figures, as SVG: what every plot shares, and the kinds of plots there are.

mod bars;
mod depth;
mod files;
mod lines;
mod panel;

pub use bars::{Bar, bars, bars_height};
pub use depth::{Curve, depth};
pub use files::PlotFiles;
pub use lines::{Line, lines};
pub use panel::{Event, Panel, Trace, events_height, list_events};

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width of a picture that is a file of its own, in pixels.
pub const WIDTH: u32 = 1200;
/// Bytes of a mebibyte, which is what memory is drawn in.
pub const MEBIBYTE: f64 = 1_048_576.0;
const FONT: &str = "sans-serif";
/// Colours that are told apart in print and by most eyes, after Okabe and Ito. When they are used up, lines are dashed.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
/// Where names stand in a column of their own: the height of each.
const LEGEND_ROW: i32 = 22;
/// The width of that column, right of the plot.
const LEGEND_WIDTH: u32 = 270;

/// A part of a picture that plots draw on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What is behind a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// White, as on paper.
    White,
    /// What it is put on.
    None,
}

/// A picture of a size in pixels.
///
/// # Errors
/// When it cannot be drawn.
pub fn picture(
    (width, height): (u32, u32),
    background: Background,
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        if background == Background::White {
            root.fill(&WHITE).map_err(undrawn)?;
        }
        draw(&root)?;
        root.present().map_err(undrawn)?;
    }
    Ok(text)
}

/// Draws what stands above several plots.
///
/// # Errors
/// When it cannot be drawn.
pub fn heading(area: &Area<'_>, text: &str) -> Result<()> {
    area.draw(&Text::new(text, (14, 12), (FONT, 18))).map_err(undrawn)
}

/// An error of the drawing library, whose types differ from call to call.
fn undrawn(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the plot: {error}")
}
