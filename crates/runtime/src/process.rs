//! What a process holds, as the system counts it.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{RawDir, SeekFrom};

/// A process's status is about 1.5 KiB; what is asked for stands in its first half.
const STATUS_BYTES: usize = 4096;
/// Entries of a folder that are read at a time.
const ENTRY_BYTES: usize = 4096;
/// What the system says of a process that has gone while its files are open (`ESRCH`).
const NO_SUCH_PROCESS: i32 = 3;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// Memory that lies in RAM, in bytes.
    pub resident_bytes: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Open files, sockets and the like; absent for a process of somebody else.
    pub open_files: Option<u64>,
    /// Threads.
    pub threads: u64,
}

impl ProcessSample {
    /// Looks at a process once; at this one without a number.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for a process that is not there.
    pub fn read(process: Option<u32>) -> io::Result<Self> {
        ProcessReader::open(process)?.read()
    }
}

/// A process that is looked at over and over. No look allocates, and a process that comes later under the same number is
/// not taken for this one.
#[derive(Debug)]
pub struct ProcessReader {
    status: File,
    /// Its open files, where we may see them.
    files: Option<File>,
    text: Box<[u8; STATUS_BYTES]>,
    entries: Box<[MaybeUninit<u8>; ENTRY_BYTES]>,
}

impl ProcessReader {
    /// A reader of a process; of this one without a number.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for a process that is not there.
    pub fn open(process: Option<u32>) -> io::Result<Self> {
        let folder = folder(process);
        let status = File::open(folder.join("status"))?;
        let files = File::open(folder.join("fd")).ok();
        let (text, entries) = (Box::new([0; STATUS_BYTES]), Box::new([MaybeUninit::uninit(); ENTRY_BYTES]));
        Ok(Self { status, files, text, entries })
    }

    /// Whether its open files are for us to see.
    #[must_use]
    pub fn sees_files(&self) -> bool {
        self.files.is_some()
    }

    /// Looks at it now.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] once it has ended, and what the system says.
    pub fn read(&mut self) -> io::Result<ProcessSample> {
        let length = read_whole(&self.status, &mut self.text[..]).map_err(ended)?;
        let status = Status(self.text.get(..length).unwrap_or_default());
        if matches!(status.value("State:"), Some(state) if state.starts_with(b"Z") || state.starts_with(b"X")) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        let absent = |key: &'static str| io::Error::new(io::ErrorKind::InvalidData, key);
        let kibibytes = |key| status.number(key).map(|count| count << 10).ok_or_else(|| absent(key));
        let (resident_bytes, virtual_bytes) = (kibibytes("VmRSS:")?, kibibytes("VmSize:")?);
        let threads = status.number("Threads:").ok_or_else(|| absent("Threads:"))?;
        let open_files = match &self.files {
            Some(files) => Some(count(files, &mut self.entries[..]).map_err(ended)?),
            None => None,
        };
        Ok(ProcessSample { resident_bytes, virtual_bytes, open_files, threads })
    }
}

/// When a process began, in the system's ticks since it was started itself: with its number it names a process for good.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] for a process that is not there.
pub fn start_ticks(process: Option<u32>) -> io::Result<u64> {
    let text = std::fs::read_to_string(folder(process).join("stat")).map_err(ended)?;
    // The program's name stands in brackets and may hold any character; proc(5) counts this one as the 22nd.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok());
    ticks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its stat has no start"))
}

/// The short name of a process's program.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] for a process that is not there.
pub fn name(process: u32) -> io::Result<String> {
    let bytes = std::fs::read(folder(Some(process)).join("comm")).map_err(ended)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn folder(process: Option<u32>) -> PathBuf {
    PathBuf::from("/proc").join(process.map_or_else(|| "self".to_owned(), |process| process.to_string()))
}

fn ended(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(NO_SUCH_PROCESS) => io::Error::from(io::ErrorKind::NotFound),
        _ => error,
    }
}

fn read_whole(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < into.len() {
        match file.read_at(&mut into[length..], length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Entries of a folder of open files. From Linux 6.2 on its size says how many there are; before, they are counted.
fn count(files: &File, entries: &mut [MaybeUninit<u8>]) -> io::Result<u64> {
    match rustix::fs::fstat(files)?.st_size {
        0 => enumerate(files, entries),
        size => Ok(size.unsigned_abs()),
    }
}

fn enumerate(files: &File, entries: &mut [MaybeUninit<u8>]) -> io::Result<u64> {
    rustix::fs::seek(files, SeekFrom::Start(0))?;
    let mut folder = RawDir::new(files, entries);
    let mut count = 0;
    while let Some(entry) = folder.next() {
        count += u64::from(!entry?.file_name().to_bytes().starts_with(b"."));
    }
    Ok(count)
}

/// The kernel's words about a process.
struct Status<'t>(&'t [u8]);

impl<'t> Status<'t> {
    fn value(&self, key: &str) -> Option<&'t [u8]> {
        let line = self.0.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()))?;
        Some(line.trim_ascii())
    }

    fn number(&self, key: &str) -> Option<u64> {
        let digits = self.value(key)?.split(|byte| !byte.is_ascii_digit()).next()?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn this_process_is_seen_and_one_that_is_not_there_is_told() {
        let before = ProcessSample::read(None).unwrap();
        let file = File::open("/proc/self/status").unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = ProcessSample::read(Some(std::process::id())).unwrap();
        assert!(after.resident_bytes >= before.resident_bytes + (60 << 20), "{before:?} {after:?}");
        assert!(after.virtual_bytes >= after.resident_bytes && after.open_files > Some(0) && after.threads > 0);
        drop((file, block));
        assert_eq!(ProcessSample::read(Some(u32::MAX)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(start_ticks(Some(u32::MAX)).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(start_ticks(None).unwrap(), start_ticks(Some(std::process::id())).unwrap());
    }

    #[test]
    fn open_files_are_counted_alike_with_and_without_the_kernels_help() {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..300 {
            File::create(folder.path().join(index.to_string())).unwrap();
        }
        let mut entries = [MaybeUninit::uninit(); 256];
        let files = File::open(folder.path()).unwrap();
        assert_eq!(enumerate(&files, &mut entries).unwrap(), 300);
        assert_eq!(enumerate(&files, &mut entries).unwrap(), 300, "from the start again");
        let child = Command::new("sleep").arg("60").spawn();
        let mut child = child.unwrap();
        let files = File::open(format!("/proc/{}/fd", child.id())).unwrap();
        if rustix::fs::fstat(&files).unwrap().st_size > 0 {
            assert_eq!(count(&files, &mut entries).unwrap(), enumerate(&files, &mut entries).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_ends_while_it_is_looked_at_is_told_as_one_that_is_not_there() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut reader = ProcessReader::open(Some(child.id())).unwrap();
        assert_eq!(reader.read().unwrap().threads, 1);
        child.kill().unwrap();
        while reader.read().is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(reader.read().unwrap_err().kind(), io::ErrorKind::NotFound, "ended and not waited for");
        child.wait().unwrap();
        assert_eq!(reader.read().unwrap_err().kind(), io::ErrorKind::NotFound, "gone");
    }
}
