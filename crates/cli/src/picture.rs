//! What all plots have in common: SVG, colours, letters.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width of a picture, in pixels.
pub const WIDTH: u32 = 1200;
/// Where names of lines stand, right of the plot.
pub const LEGEND_WIDTH: u32 = 270;
/// Height of a name there.
pub const LEGEND_ROW: i32 = 22;
/// Letters.
pub const FONT: &str = "sans-serif";
/// Colours that are told apart in print and by most eyes, after Okabe and Ito.
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A picture of that height on white.
///
/// # Errors
/// When it cannot be drawn.
pub fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(undrawn)?;
        draw(&root)?;
        root.present().map_err(undrawn)?;
    }
    Ok(text)
}

/// What is said of a picture that cannot be drawn.
pub fn undrawn(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the plot: {error}")
}
