//! Another process of this user, by what it shows of itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::snapshot::{Flaw, ROOM_BYTES, Snapshot};
use crate::error::{Error, Result};
use crate::process;

/// How often a snapshot that was being written is read again; writing takes microseconds.
const TRIES: usize = 100;

/// A process that shows itself.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    /// Open, so that the last that was shown can be read when the process has gone.
    file: File,
    pid: u32,
    start_ticks: u64,
    title: String,
}

impl Published {
    pub(super) fn open(pid: u32, path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
        let snapshot = read(&file, path);
        let (start_ticks, title) = match snapshot {
            Ok(snapshot) => (snapshot.start_ticks, snapshot.title.into_owned()),
            // Left by a process that was killed before it had shown anything.
            Err(_) if process::start_ticks(Some(pid)).is_err() => return Err(Error::NoProcess { pid }),
            Err(error) => return Err(error),
        };
        let published = Self { path: path.to_owned(), file, pid, start_ticks, title };
        if published.is_alive() { Ok(published) } else { Err(Error::NoProcess { pid }) }
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it does.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        process::start_ticks(Some(self.pid)).is_ok_and(|ticks| ticks == self.start_ticks)
    }

    /// What it showed last, also when it has gone meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Shown`].
    pub fn snapshot(&self) -> Result<Snapshot<'static>> {
        read(&self.file, &self.path)
    }
}

fn read(file: &File, path: &Path) -> Result<Snapshot<'static>> {
    let shown = |reason: String| Error::Shown { path: path.to_owned(), reason };
    for _ in 0..TRIES {
        let mut bytes = [0; ROOM_BYTES];
        let length = match file.read_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length.map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?,
        };
        match Snapshot::parse(&bytes[..length]) {
            Ok(snapshot) => return Ok(snapshot),
            Err(Flaw::Torn) => std::thread::yield_now(),
            Err(Flaw::Foreign(reason)) => return Err(shown(reason)),
        }
    }
    Err(shown("it is empty or damaged".to_owned()))
}
