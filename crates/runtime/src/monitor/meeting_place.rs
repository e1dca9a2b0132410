//! The folder in which processes of one user show themselves to one another.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::Published;
use crate::error::{Error, Result};

/// Nobody but the owner may look into the folder.
const OWNER_ONLY: u32 = 0o700;

/// The folder in which processes of one user show themselves: `trtforge` in `XDG_RUNTIME_DIR`, or else
/// `trtforge-USER` in the folder for temporary files. A file is named after its process and the numbering that the
/// process's number is of, since containers that share a folder may have numberings of their own.
#[derive(Debug, Clone)]
pub struct MeetingPlace {
    folder: PathBuf,
}

impl MeetingPlace {
    /// The place of this user.
    ///
    /// # Errors
    /// [`Error::Io`] where the system does not say who that is.
    pub fn of_user() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = match runtime {
            Some(runtime) => runtime.join("trtforge"),
            None => std::env::temp_dir().join(format!("trtforge-{}", user()?)),
        };
        Ok(Self { folder })
    }

    /// A folder of one's own choice, which is made when something is shown in it.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder; one that is there must be ours alone.
    pub(super) fn make(&self) -> Result<()> {
        let failed = |source| Error::Io { action: "use", path: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(&self.folder).map_err(failed)?;
        let found = std::fs::symlink_metadata(&self.folder).map_err(failed)?;
        if !found.is_dir() || found.uid() != user()? || found.mode() & 0o077 != 0 {
            let reason = "it is somebody else's, or others may look into it";
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, reason)));
        }
        Ok(())
    }

    /// The file of a process.
    pub(super) fn file_of(&self, pid: u32) -> Result<PathBuf> {
        Ok(self.folder.join(format!("{}{pid}.json", prefix()?)))
    }

    /// The processes that show themselves now, by number. What others left when they were killed is removed.
    ///
    /// # Errors
    /// [`Error::Io`] for a folder that cannot be read; one that is not there is empty.
    pub fn processes(&self) -> Result<Vec<Published>> {
        let failed = |source| Error::Io { action: "read", path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let prefix = prefix()?;
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = |name: &str| name.strip_prefix(&prefix)?.strip_suffix(".json")?.parse::<u32>().ok();
            let Some(pid) = name.to_str().and_then(number) else { continue };
            match Published::open(pid, &entry.path()) {
                Ok(published) => found.push(published),
                Err(Error::NoProcess { .. }) => {
                    // Whoever else found it stale may have been first.
                    let _ = std::fs::remove_file(entry.path());
                }
                // It may be shown for the first time just now, or by another version.
                Err(_) => {}
            }
        }
        found.sort_by_key(Published::pid);
        Ok(found)
    }

    /// What a process shows of itself; nothing for one that shows nothing.
    ///
    /// # Errors
    /// [`Error::NoProcess`] for one that is gone, [`Error::Io`] and [`Error::Shown`] for what cannot be read.
    pub fn process(&self, pid: u32) -> Result<Option<Published>> {
        let path = self.file_of(pid)?;
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => Published::open(pid, &path).map(Some),
        }
    }

    pub(super) fn sweep(&self) -> Result<()> {
        self.processes().map(drop)
    }
}

fn user() -> Result<u32> {
    let unread = |source| Error::Io { action: "read", path: "/proc/self".into(), source };
    Ok(std::fs::metadata("/proc/self").map_err(unread)?.uid())
}

/// How names of files of this numbering of processes begin.
fn prefix() -> Result<String> {
    let numbering = Path::new("/proc/self/ns/pid");
    let unread = |source| Error::Io { action: "read", path: numbering.to_owned(), source };
    Ok(format!("{}-", std::fs::metadata(numbering).map_err(unread)?.ino()))
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{ROOM_BYTES, Snapshot, tests::largest};
    use super::*;

    /// What a process of this number and start would have shown.
    fn leave(place: &MeetingPlace, pid: u32, start_ticks: u64) -> PathBuf {
        let mut room = [b' '; ROOM_BYTES];
        let length = Snapshot { pid, start_ticks, ..largest() }.write(&mut room).unwrap();
        let path = place.file_of(pid).unwrap();
        std::fs::write(&path, &room[..length]).unwrap();
        path
    }

    #[test]
    fn what_killed_processes_left_is_told_from_what_runs_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = MeetingPlace::at(folder.path());
        let me = std::process::id();
        let start = crate::process::start_ticks(None).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let gone = leave(&place, u32::MAX, 5);
        let reused = leave(&place, child.id(), start + 1_000_000);
        let empty = place.file_of(u32::MAX - 1).unwrap();
        std::fs::write(&empty, "").unwrap();
        let runs = leave(&place, me, start);
        let others = folder.path().join("1-17.json");
        std::fs::write(&others, "of another numbering").unwrap();
        assert_eq!(place.processes().unwrap().iter().map(Published::pid).collect::<Vec<_>>(), [me]);
        assert!(!gone.exists() && !reused.exists() && !empty.exists() && runs.exists() && others.exists());
        assert!(place.process(me).unwrap().is_some());
        assert!(place.process(child.id()).unwrap().is_none(), "it shows nothing");
        std::fs::write(&runs, "damaged").unwrap();
        assert!(matches!(place.process(me), Err(Error::Shown { .. })));
        assert!(place.processes().unwrap().is_empty() && runs.exists(), "it is alive");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
