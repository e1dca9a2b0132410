//! Reports and plots as files. Places are looked at before anything is measured.

use super::arguments::MeasureArgs;
use super::plot;
use crate::failure::Failure;
use crate::plots::PlotFiles;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use trtforge_builder::StagedFile;
use trtforge_runtime::bench::{KIND, Report, SCHEMA};

/// Where the report and its plots go.
pub struct Destinations {
    report: Option<StagedFile>,
    plots: Option<PlotFiles>,
}

impl Destinations {
    /// Begins the files.
    ///
    /// # Errors
    /// A place cannot be written to, or is what is to be measured.
    pub fn prepare(args: &MeasureArgs) -> Result<Self> {
        let model = args.file()?;
        for place in [&args.output, &args.svg].into_iter().flatten() {
            if place.canonicalize().ok() == model.canonicalize().ok() {
                bail!(Failure::usage(format!("{} is what is to be measured", place.display())));
            }
        }
        if let Some(folder) = args.output.as_deref().and_then(Path::parent)
            && !folder.as_os_str().is_empty()
            && !folder.is_dir()
        {
            bail!(Failure::usage(format!("there is no folder {} to write the report to", folder.display())));
        }
        let report = args.output.as_deref().map(StagedFile::create).transpose()?;
        let plots = args.svg.as_deref().map(|place| PlotFiles::prepare(place, &plot::NAMES)).transpose()?;
        Ok(Self { report, plots })
    }

    /// Writes them, and puts them in their places.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(self, report: &Report) -> Result<()> {
        let mut text = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
        text.push('\n');
        if let Some(plots) = self.plots {
            plots.write(|plot| plot::svg(report, plot))?;
        }
        self.report.map_or(Ok(()), |file| put(file, &text))
    }
}

fn put(mut file: StagedFile, text: &str) -> Result<()> {
    use std::io::Write;
    let written = file.file().write_all(text.as_bytes());
    written.with_context(|| format!("cannot write {}", file.target().display()))?;
    Ok(file.commit()?)
}

/// Reads a report.
///
/// # Errors
/// When it cannot be read, is something else, or of another schema.
pub fn read(path: &Path) -> Result<Report> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Failure::input(format!("cannot read {shown}")).because(error))?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| foreign(path, Some(error)))?;
    if value["kind"] != KIND {
        bail!(foreign(path, None));
    }
    if value["schema"] != SCHEMA {
        let message = format!("{shown} has schema {}; this version reads schema {SCHEMA}", value["schema"]);
        bail!(Failure::input(message).hint("measure again with this version"));
    }
    Ok(serde_json::from_value(value).map_err(|error| foreign(path, Some(error)))?)
}

fn foreign(path: &Path, cause: Option<serde_json::Error>) -> Failure {
    let failure = Failure::input(format!("{} is no report of `trtforge bench`", path.display()))
        .hint("`trtforge bench MODEL -o REPORT.json` writes one");
    match cause {
        Some(cause) => failure.because(cause),
        None => failure,
    }
}
