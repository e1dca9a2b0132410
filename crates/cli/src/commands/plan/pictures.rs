//! A plan as plots: memory over the network's depth, and bars by class.

use crate::plots::{Background, Bar, Curve, WIDTH, bars, bars_height, depth, picture};
use anyhow::Result;
use std::path::PathBuf;

/// Files of the plots where each has its own, in the order of [`Pictures::svg`].
pub const NAMES: [&str; 2] = ["memory-depth.svg", "memory-classes.svg"];

const HEIGHT: u32 = 520;
const CLASSES: [&str; 3] = ["weights", "activation", "inputs and outputs"];

/// What the plots of a plan show.
pub struct Pictures {
    /// The model or engine.
    pub file: PathBuf,
    /// A bar by class for each engine.
    pub bars: Vec<Bar>,
    /// Activation memory over depth, for each that it is known of.
    pub curves: Vec<Curve>,
    /// What a step of a curve is.
    pub step: &'static str,
    /// Memory there is.
    pub budget: Option<u64>,
}

impl Pictures {
    /// One plot, or both, one above the other.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self, plot: Option<usize>) -> Result<String> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let below = bars_height(self.bars.len());
        let (height, split) = match plot {
            Some(0) => (HEIGHT, HEIGHT),
            Some(_) => (below, 0),
            None => (HEIGHT + below, HEIGHT),
        };
        picture((WIDTH, height), Background::White, |root| {
            let (upper, lower) = root.split_vertically(split);
            if plot != Some(1) {
                depth(&upper, &format!("{name}: activation memory over depth"), self.step, &self.curves)?;
            }
            if plot != Some(0) {
                bars(&lower, &format!("{name}: memory by class"), &CLASSES, &self.bars, self.budget)?;
            }
            Ok(())
        })
    }
}
