//! Gives memory that is free already back to the system.
//!
//! The C library keeps what a session took for later: with large blocks gone in between small ones, hundreds of megabytes stay resident that nobody uses. Only glibc has a
//! call for that; elsewhere nothing happens.

use std::ffi::c_int;
use std::sync::OnceLock;

use libloading::os::unix::Library;

/// `int malloc_trim(size_t pad)`.
type MallocTrim = unsafe extern "C" fn(usize) -> c_int;

/// Gives back what sessions, and whatever else was dropped, have left behind. To be called between steps that take much memory: it takes milliseconds.
#[allow(unsafe_code)]
pub fn release_freed_memory() {
    static MALLOC_TRIM: OnceLock<Option<MallocTrim>> = OnceLock::new();
    // SAFETY: the type is that of the function of this name, which glibc alone has; its code stays in the process, since it is part of the C library.
    let trim = MALLOC_TRIM
        .get_or_init(|| unsafe { Library::this().get::<MallocTrim>(b"malloc_trim\0").ok().map(|trim| *trim) });
    if let Some(trim) = trim {
        // SAFETY: any number is a valid argument, and the call may be made at any time from any thread.
        unsafe { trim(0) };
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_used_blocks_goes_back() {
        const BLOCK: usize = 64 << 10;
        let resident_bytes = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let blocks: Vec<Vec<u8>> = (0..2048).map(|_| vec![1; BLOCK]).collect();
        let kept: Vec<Vec<u8>> = blocks.into_iter().step_by(64).collect();
        let before = resident_bytes();
        release_freed_memory();
        let after = resident_bytes();
        assert!(after + 1024 * BLOCK < before, "{before} bytes became {after}");
        assert!(kept.iter().all(|block| block.iter().all(|&byte| byte == 1)));
    }
}
