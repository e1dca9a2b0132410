//! `trtforge calibrate`: answers that it is not there yet.
//!
//! Scripts written against the documented command line get a plain answer instead of "unknown command". Hidden from
//! the help until it works.

use anyhow::{Result, bail};
use clap::Args;

/// Run the calibration only; not available yet
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Accepted and not looked at
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    ignored: Vec<String>,
}

/// Always fails with exit 2.
pub fn run() -> Result<()> {
    bail!(crate::failure::not_available("calibrate").hint("`trtforge build --precision fp16` needs no calibration"))
}
