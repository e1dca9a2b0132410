//! What a process holds, as the system counts it.

use std::io;
use std::path::PathBuf;

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessSample {
    /// Memory that lies in RAM, in bytes.
    pub resident_bytes: u64,
    /// Address space, in bytes.
    pub virtual_bytes: u64,
    /// Open files, sockets and the like.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessSample {
    /// Looks at a process; at this one without a number.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for a process that is not there, [`io::ErrorKind::PermissionDenied`] for one of somebody else.
    pub fn read(process: Option<u32>) -> io::Result<Self> {
        let name = process.map_or_else(|| "self".to_owned(), |process| process.to_string());
        let folder = PathBuf::from("/proc").join(name);
        let status = std::fs::read_to_string(folder.join("status"))?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let absent = |key: &str| io::Error::new(io::ErrorKind::InvalidData, format!("its status has no {key}"));
        let kibibytes = |key: &str| number(key).map(|count| count << 10).ok_or_else(|| absent(key));
        Ok(Self {
            resident_bytes: kibibytes("VmRSS:")?,
            virtual_bytes: kibibytes("VmSize:")?,
            open_files: std::fs::read_dir(folder.join("fd"))?.count() as u64,
            threads: number("Threads:").ok_or_else(|| absent("Threads:"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_and_one_that_is_not_there_is_told() {
        let before = ProcessSample::read(None).unwrap();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = ProcessSample::read(Some(std::process::id())).unwrap();
        assert!(after.resident_bytes >= before.resident_bytes + (60 << 20), "{before:?} {after:?}");
        assert!(after.virtual_bytes >= after.resident_bytes && after.open_files > 0 && after.threads > 0);
        drop((file, block));
        assert_eq!(ProcessSample::read(Some(u32::MAX)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
