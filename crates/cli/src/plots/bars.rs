//! Memory by class: a bar for each engine, its classes one behind the other, its sum at the end.

use super::{Area, COLOURS, FONT, MEBIBYTE, undrawn};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use trtforge_builder::format_bytes;

/// Height of a bar with the space around it, of what is above all bars, and of what is below.
const ROW: u32 = 34;
const ABOVE: u32 = 78;
const BELOW: u32 = 20;
/// Where bars begin, and what is left for sums behind them.
const NAMES: i32 = 190;
const SUMS: i32 = 110;
const LEGEND_STEP: i32 = 190;

/// One bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// What stands before it.
    pub name: String,
    /// Bytes of each class.
    pub bytes: Vec<u64>,
}

/// The height that so many bars take, in pixels.
pub fn bars_height(count: usize) -> u32 {
    ABOVE + BELOW + ROW * count as u32
}

/// Draws bars whose parts are `classes`, and a line where a budget ends.
///
/// # Errors
/// When they cannot be drawn.
pub fn bars(area: &Area<'_>, title: &str, classes: &[&str], bars: &[Bar], budget: Option<u64>) -> Result<()> {
    let text = |size: u32, across, down| (FONT, size).into_font().color(&BLACK).pos(Pos::new(across, down));
    let put = |text_of: String, at: (i32, i32), style: TextStyle<'_>| {
        area.draw(&Text::new(text_of, at, style)).map_err(undrawn)
    };
    let width = area.dim_in_pixel().0 as i32;
    put(title.to_owned(), (width / 2, 14), text(18, HPos::Center, VPos::Top))?;
    for (index, class) in classes.iter().enumerate() {
        let x = NAMES + LEGEND_STEP * index as i32;
        area.draw(&Rectangle::new([(x, 50), (x + 14, 64)], COLOURS[index % COLOURS.len()].filled()))
            .map_err(undrawn)?;
        put((*class).to_owned(), (x + 20, 57), text(13, HPos::Left, VPos::Center))?;
    }
    let sum = |bar: &Bar| bar.bytes.iter().copied().fold(0, u64::saturating_add);
    let most = bars.iter().map(sum).chain(budget).max().unwrap_or(0).max(1);
    let scale = f64::from(width - NAMES - SUMS) / (most as f64 / MEBIBYTE);
    let across = |bytes: u64| NAMES + (bytes as f64 / MEBIBYTE * scale).round() as i32;
    for (row, bar) in bars.iter().enumerate() {
        let y = (ABOVE + ROW * row as u32) as i32;
        put(bar.name.clone(), (NAMES - 10, y + 12), text(13, HPos::Right, VPos::Center))?;
        let mut from = 0u64;
        for (index, bytes) in bar.bytes.iter().enumerate() {
            let to = from.saturating_add(*bytes);
            let part =
                Rectangle::new([(across(from), y), (across(to), y + 24)], COLOURS[index % COLOURS.len()].filled());
            area.draw(&part).map_err(undrawn)?;
            from = to;
        }
        put(format_bytes(sum(bar)), (across(from) + 8, y + 12), text(13, HPos::Left, VPos::Center))?;
    }
    let Some(budget) = budget else { return Ok(()) };
    let (x, bottom) = (across(budget), (bars_height(bars.len()) - BELOW) as i32);
    let line = PathElement::new([(x, ABOVE as i32 - 6), (x, bottom)], BLACK.stroke_width(2));
    area.draw(&line).map_err(undrawn)?;
    put(format!("budget {}", format_bytes(budget)), (x, bottom + 3), text(13, HPos::Center, VPos::Top))
}
