//! A recording as a file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Recording;
use crate::error::{Error, Result};

/// How a recording is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// [`Recording::write_csv`].
    Csv,
    /// [`Recording::write_json`].
    Json,
}

impl Recording {
    /// Writes it to a file, under a temporary name beside it that is renamed at the end. What is no ordinary file, such as a
    /// pipe, is written to as it is.
    ///
    /// # Errors
    /// [`Error::Io`], for example on a full disk; a file that was there stays as it was.
    pub fn save(&self, path: impl AsRef<Path>, form: Form) -> Result<()> {
        let path = path.as_ref();
        let unwritten = |source| Error::Io { action: "write", path: path.to_owned(), source };
        if std::fs::metadata(path).is_ok_and(|it| !it.is_file()) {
            let file = OpenOptions::new().write(true).open(path).map_err(unwritten)?;
            return self.write(file, form).map_err(unwritten);
        }
        let temporary = beside(path);
        let written = File::create_new(&temporary).and_then(|file| self.write(file, form));
        let saved = written.and_then(|()| std::fs::rename(&temporary, path));
        saved.map_err(|source| {
            // It may never have been there.
            let _ = std::fs::remove_file(&temporary);
            unwritten(source)
        })
    }

    fn write(&self, file: File, form: Form) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        match form {
            Form::Csv => self.write_csv(&mut out)?,
            Form::Json => self.write_json(&mut out)?,
        }
        out.flush()
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}
