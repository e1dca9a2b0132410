//! Output files: written under a temporary name beside their place and renamed, one writer at a time. What is no ordinary file
//! is never replaced: a device or a pipe is written to as it is, and a link leads to the file that is.

use crate::{Error, Result};
use fs4::FileExt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use trtforge_graph::{Model, Place};

/// The right to write one output; held for the length of a build and given back when dropped.
#[derive(Debug)]
pub struct OutputLock {
    path: PathBuf,
    file: Option<File>,
}

impl OutputLock {
    /// Takes the lock of `output` without waiting. Creates the output's folder where it is missing, so that an unwritable place is found before any work is done.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process holds it, [`Error::Write`] where the folder cannot be written, or the output is no ordinary file.
    pub fn acquire(output: &Path) -> Result<OutputLock> {
        if output.is_dir() {
            return Err(Error::write(output, io::Error::from(io::ErrorKind::IsADirectory)));
        }
        if is_special(output) || output.is_symlink() {
            let why = "it is a link, a device or a pipe, and other files are to stand beside it";
            return Err(Error::write(output, io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let folder = folder_of(output);
        std::fs::create_dir_all(folder).map_err(|source| Error::write(output, source))?;
        let path = lock_path(output);
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|source| Error::write(output, source))?;
            match FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(fs4::TryLockError::WouldBlock) => return Err(Error::Busy { path: output.to_owned() }),
                Err(fs4::TryLockError::Error(source)) => return Err(Error::write(output, source)),
            }
            if is_same_file(&file, &path) {
                return Ok(OutputLock { path, file: Some(file) });
            }
        }
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // Removed while still locked: whoever opened it before finds another file under the name and tries again.
        let _ = std::fs::remove_file(&self.path);
        drop(self.file.take());
    }
}

/// Refuses outputs that would replace the source model, one of its data files, or each other.
///
/// # Errors
/// [`Error::Usage`] naming both.
pub(crate) fn check_clashes(model: &Path, targets: &[PathBuf]) -> Result<()> {
    let source = Model::read(model).map_err(|source| Error::model(model, source))?;
    let mut taken: Vec<(PathBuf, String)> = vec![(settled(model), format!("the model {}", model.display()))];
    taken.extend(
        source.data_files().iter().map(|file| (settled(file), format!("the model's data file {}", file.display()))),
    );
    for target in targets {
        let path = settled(target);
        if let Some((_, other)) = taken.iter().find(|(known, _)| *known == path) {
            return Err(Error::Usage(format!(
                "writing {} would replace {other}; choose another name",
                target.display()
            )));
        }
        taken.push((path, format!("the other output {}", target.display())));
    }
    Ok(())
}

/// A path with links and `..` followed, as far as it exists.
fn settled(path: &Path) -> PathBuf {
    let whole = path.canonicalize().ok();
    let beside = || Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?));
    whole.or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// A lock file that its earlier holder removed is no lock any more.
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.ino() == named.ino() && held.dev() == named.dev(),
        _ => false,
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock_path(output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    folder_of(output).join(format!(".{name}.lock"))
}

/// Whether it is there, and neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir())
}

/// A complete file under a temporary name; the kernel writes it to the disk in its own time: a manifest's digest shows a file that a power cut damaged.
///
/// [`StagedFile::commit`] gives it its own. Dropped without that, it is removed.
#[derive(Debug)]
pub struct StagedFile {
    target: PathBuf,
    place: Place,
    file: tempfile::NamedTempFile,
}

impl StagedFile {
    /// Writes `bytes` beside `target`.
    ///
    /// # Errors
    /// [`Error::Write`], for example on a full disk; nothing is left behind.
    pub fn write(target: &Path, bytes: &[u8]) -> Result<StagedFile> {
        let mut staged = StagedFile::create(target)?;
        staged.file().write_all(bytes).map_err(|source| Error::write(target, source))?;
        Ok(staged)
    }

    /// Begins an empty file beside `target`, to be written piece by piece; where that is a device or a pipe, in the system's folder for temporary files.
    ///
    /// # Errors
    /// [`Error::Write`] where the folder or the device cannot be written.
    pub fn create(target: &Path) -> Result<StagedFile> {
        let failed = |source| Error::write(target, source);
        let place = Place::of(target).map_err(failed)?;
        let folder = match &place {
            Place::File(place) => folder_of(place).to_owned(),
            Place::Special(_) => std::env::temp_dir(),
        };
        let file = tempfile::Builder::new().prefix(".trtforge-").tempfile_in(folder).map_err(failed)?;
        make_readable(file.as_file()).map_err(failed)?;
        Ok(StagedFile { target: target.to_owned(), place, file })
    }

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Puts the file in its place, over an older one.
    ///
    /// # Errors
    /// [`Error::Write`] where the rename fails, or the device is full.
    pub fn commit(mut self) -> Result<()> {
        let failed = |source| Error::write(&self.target, source);
        match self.place {
            Place::File(place) => self.file.persist(place).map(drop).map_err(|error| failed(error.error)),
            Place::Special(mut special) => {
                let copied = self.file.rewind().and_then(|()| io::copy(self.file.as_file_mut(), &mut special));
                copied.map(drop).map_err(failed)
            }
        }
    }
}

/// Temporary files are private to their owner; outputs are readable by all, like any other new file.
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("new/a.engine");
        let first = OutputLock::acquire(&output).unwrap();
        assert!(matches!(OutputLock::acquire(&output), Err(Error::Busy { .. })));
        drop(first);
        drop(OutputLock::acquire(&output).unwrap());
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 0);
    }

    #[test]
    fn a_staged_file_that_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.engine");
        drop(StagedFile::write(&target, b"half").unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        StagedFile::write(&target, b"whole").unwrap().commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
    }

    #[test]
    fn a_device_stays_and_tells_that_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let device = |name: &str| {
            let link = folder.path().join(name);
            std::os::unix::fs::symlink(Path::new("/dev").join(name), &link).unwrap();
            link
        };
        let (null, full) = (device("null"), device("full"));
        StagedFile::write(&null, b"gone").unwrap().commit().unwrap();
        assert!(matches!(StagedFile::write(&full, b"much").unwrap().commit(), Err(Error::Write { .. })));
        assert!(matches!(OutputLock::acquire(&null), Err(Error::Write { .. })));
        assert!(is_special(&null) && is_special(&full));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_leads_to_the_file_that_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
        std::fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        StagedFile::write(&link, b"new").unwrap().commit().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
        assert!(matches!(OutputLock::acquire(&link), Err(Error::Write { .. })));
        assert!(matches!(StagedFile::create(folder.path()), Err(Error::Write { .. })));
    }

    #[test]
    fn a_pipe_gets_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        StagedFile::write(&pipe, b"whole").unwrap().commit().unwrap();
        assert_eq!(reader.join().unwrap(), b"whole");
        assert!(is_special(&pipe));
    }

    #[test]
    fn a_folder_is_no_output() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(OutputLock::acquire(folder.path()), Err(Error::Write { .. })));
    }
}
