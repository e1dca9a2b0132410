//! Flags that name the inputs on which ranges are observed and results compared.

use clap::Args;
use std::path::PathBuf;
use trtforge_builder::SampleSource;

/// Inputs to observe and compare on.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Sample inputs")]
pub struct SampleArgs {
    /// Real inputs: a folder or list of images, an image, an .npz or .npy; made up without
    #[arg(long, visible_alias = "inputs", value_name = "DIR|LIST|FILE.npz")]
    pub calibration: Option<PathBuf>,
    /// Use at most N of them
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub calibration_count: Option<usize>,
    /// Images that may be unreadable before it is an error [default: one in twenty, at least 1]
    #[arg(long, value_name = "N")]
    pub max_unreadable: Option<usize>,
}

/// Why a text is no count.
#[derive(Debug, thiserror::Error)]
#[error("write a whole number of at least 1")]
struct CountError;

fn parse_count(text: &str) -> Result<usize, CountError> {
    text.parse().ok().filter(|count| *count > 0).ok_or(CountError)
}

impl SampleArgs {
    /// Where samples come from, `configured` being the config's folder.
    pub fn source(&self, configured: Option<PathBuf>) -> SampleSource {
        self.calibration.clone().or(configured).map_or(SampleSource::Synthetic, SampleSource::Path)
    }
}
