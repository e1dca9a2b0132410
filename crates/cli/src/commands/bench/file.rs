//! Reports and plots as files. Places are looked at before anything is measured.

use super::arguments::MeasureArgs;
use super::plot;
use crate::failure::Failure;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use trtforge_builder::StagedFile;
use trtforge_runtime::bench::{KIND, Report, SCHEMA};

/// Where the report and its plots go.
pub struct Destinations {
    report: Option<StagedFile>,
    plots: Vec<(StagedFile, plot::Kind)>,
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
        let plots = args.svg.as_deref().map(plot_files).transpose()?.unwrap_or_default();
        let plots = plots.into_iter().map(|(path, kind)| Ok((StagedFile::create(&path)?, kind)));
        Ok(Self { report, plots: plots.collect::<Result<_>>()? })
    }

    /// Writes them, and puts them in their places.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(self, report: &Report) -> Result<()> {
        let mut text = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
        text.push('\n');
        let plots = self.plots.into_iter().map(|(file, kind)| Ok((file, plot::svg(report, kind)?)));
        let plots = plots.collect::<Result<Vec<_>>>()?;
        for (file, text) in self.report.into_iter().zip([text]).chain(plots) {
            put(file, &text)?;
        }
        Ok(())
    }
}

fn put(mut file: StagedFile, text: &str) -> Result<()> {
    use std::io::Write;
    let written = file.file().write_all(text.as_bytes());
    written.with_context(|| format!("cannot write {}", file.target().display()))?;
    Ok(file.commit()?)
}

/// A file for both plots, or two in a folder, which is made.
fn plot_files(place: &Path) -> Result<Vec<(PathBuf, plot::Kind)>> {
    if place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) && !place.is_dir() {
        return Ok(vec![(place.to_owned(), plot::Kind::Both)]);
    }
    std::fs::create_dir_all(place).with_context(|| format!("cannot make the folder {}", place.display()))?;
    Ok(vec![
        (place.join("throughput-p99.svg"), plot::Kind::Throughput),
        (place.join("latency.svg"), plot::Kind::Latency),
    ])
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
