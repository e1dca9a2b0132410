//! Shows a process's newest sample to others of the same user, as a small file that is written over in place.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use super::mark::LONGEST_LABEL;
use super::meeting_place::MeetingPlace;
use super::snapshot::{MARKS, ROOM_BYTES, SCHEMA, Snapshot};
use super::{Mark, Sample};
use crate::error::{Error, Result};
use crate::process;

/// The file that this process shows itself by; removed when this goes.
#[derive(Debug)]
pub(super) struct Publisher {
    path: PathBuf,
    file: File,
    room: Box<[u8; ROOM_BYTES]>,
    start_ticks: u64,
    title: String,
    interval: Duration,
    sequence: u64,
}

impl Publisher {
    /// Makes the file, for its owner alone. What processes that are gone have left is removed.
    pub(super) fn create(place: &MeetingPlace, title: &str, interval: Duration) -> Result<Self> {
        place.make()?;
        place.sweep()?;
        let path = place.file_of(std::process::id())?;
        // What is there under this number is left by an earlier process, or a symbolic link that must not be followed.
        let _ = std::fs::remove_file(&path);
        let unwritten = |source| Error::Io { action: "write", path: path.clone(), source };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(unwritten)?;
        Self::over(path, file, title, interval)
    }

    pub(super) fn over(path: PathBuf, file: File, title: &str, interval: Duration) -> Result<Self> {
        let unread = |source| Error::Io { action: "read", path: "/proc/self/stat".into(), source };
        let start_ticks = process::start_ticks(None).map_err(unread)?;
        let title = title.chars().take(LONGEST_LABEL).collect();
        Ok(Self { path, file, room: Box::new([b' '; ROOM_BYTES]), start_ticks, title, interval, sequence: 0 })
    }

    /// Shows a sample in place of the one before; nothing is allocated.
    pub(super) fn show(&mut self, sample: &Sample, marks: &[Mark]) -> Result<()> {
        self.sequence += 1;
        let snapshot = Snapshot {
            schema: SCHEMA,
            pid: std::process::id(),
            start_ticks: self.start_ticks,
            title: Cow::Borrowed(&self.title),
            interval_s: self.interval.as_secs_f64(),
            sequence: self.sequence,
            at_s: sample.at.as_secs_f64(),
            values: sample.values,
            marks: Cow::Borrowed(&marks[marks.len().saturating_sub(MARKS)..]),
        };
        let written = snapshot.write(&mut self.room).map_err(io::Error::from);
        let written = written.and_then(|length| self.file.write_all_at(&self.room[..length], 0));
        written.map_err(|source| Error::Io { action: "write", path: self.path.clone(), source })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // A folder that has gone took the file with it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let path = folder.path().join("shown.json");
        let mut publisher = Publisher::over(path.clone(), full, "title", Duration::from_secs(1)).unwrap();
        for _ in 0..2 {
            match publisher.show(&Sample::default(), &[]) {
                Err(Error::Io { action: "write", path: told, source }) => {
                    assert_eq!((told, source.kind()), (path.clone(), io::ErrorKind::StorageFull));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
