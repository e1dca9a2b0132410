//! Recordings as files. Places are looked at before anything is recorded.

use crate::args::monitor::{RecordingFile, RecordingForm};
use crate::failure::Failure;
use crate::recording_plot;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::Path;
use trtforge_builder::StagedFile;
use trtforge_runtime::monitor::Recording;

/// Files that a recording will go to.
#[derive(Debug)]
pub struct RecordingFiles {
    files: Vec<(StagedFile, RecordingForm)>,
}

impl RecordingFiles {
    /// Begins the files.
    ///
    /// # Errors
    /// A place cannot be written to, is named twice, or is the `model` that runs.
    pub fn prepare(files: &[RecordingFile], model: Option<&Path>) -> Result<Self> {
        for (index, RecordingFile { path, .. }) in files.iter().enumerate() {
            if files[..index].iter().any(|other| other.path == *path) {
                bail!(Failure::usage(format!("{} is named twice", path.display())));
            }
            if model.is_some_and(|model| path.exists() && path.canonicalize().ok() == model.canonicalize().ok()) {
                bail!(Failure::usage(format!("{} is what is to be run", path.display())));
            }
        }
        let files = files.iter().map(|file| Ok((begin(&file.path)?, file.form)));
        Ok(Self { files: files.collect::<Result<_>>()? })
    }

    /// Writes the recording to all of them; one that fails keeps no other from being written.
    ///
    /// # Errors
    /// The first that failed.
    pub fn write(self, recording: &Recording) -> Result<()> {
        let write = |(file, form): (StagedFile, RecordingForm)| put(file, &text(recording, form)?);
        let outcomes: Vec<Result<()>> = self.files.into_iter().map(write).collect();
        outcomes.into_iter().collect()
    }
}

fn text(recording: &Recording, form: RecordingForm) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    match form {
        RecordingForm::Svg => text = recording_plot::svg(recording)?.into_bytes(),
        RecordingForm::Csv => recording.write_csv(&mut text)?,
        RecordingForm::Json => recording.write_json(&mut text)?,
    }
    Ok(text)
}

fn begin(path: &Path) -> Result<StagedFile> {
    if path.is_dir() {
        bail!(Failure::usage(format!("{} is a folder; the recording needs a file", path.display())));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        bail!(Failure::usage(format!("there is no folder {} to write the recording to", folder.display())));
    }
    StagedFile::create(path).with_context(|| unwritten(path))
}

fn put(mut file: StagedFile, text: &[u8]) -> Result<()> {
    let unwritten = unwritten(file.target());
    file.file().write_all(text).with_context(|| unwritten.clone())?;
    file.commit().context(unwritten)
}

fn unwritten(path: &Path) -> String {
    format!("cannot write the recording to {}", path.display())
}
