//! The `--monitor` flag of every command that runs a model.

use clap::Args;
use std::path::{Path, PathBuf};

/// Files that a recording of the run goes to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct MonitorArgs {
    /// Record memory and throughput over time, as a plot or as figures; may be given several times
    #[arg(long, value_name = "FILE.svg|.csv|.json", value_parser = RecordingFile::parse)]
    pub monitor: Vec<RecordingFile>,
}

/// How a recording is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingForm {
    Svg,
    Csv,
    Json,
}

/// A file that a recording goes to; the ending of its name says how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingFile {
    pub path: PathBuf,
    pub form: RecordingForm,
}

impl RecordingFile {
    /// # Errors
    /// What would have been accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let extension = Path::new(text).extension().map(|it| it.to_ascii_lowercase());
        let form = match extension.as_ref().and_then(|it| it.to_str()) {
            Some("svg") => RecordingForm::Svg,
            Some("csv") => RecordingForm::Csv,
            Some("json") => RecordingForm::Json,
            _ => return Err("write a name that ends in .svg, .csv or .json".to_owned()),
        };
        Ok(Self { path: text.into(), form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_how_it_is_written() {
        for (text, form) in
            [("a.svg", RecordingForm::Svg), ("x/b.CSV", RecordingForm::Csv), ("c.json", RecordingForm::Json)]
        {
            assert_eq!(RecordingFile::parse(text), Ok(RecordingFile { path: text.into(), form }));
        }
        for wrong in ["", "svg", "a.png", "a.svg/b", "/dev/full"] {
            assert!(RecordingFile::parse(wrong).is_err(), "{wrong}");
        }
    }
}
