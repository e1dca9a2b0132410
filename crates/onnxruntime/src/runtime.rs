//! The loaded library, shared by the whole process.
//!
//! ONNX Runtime allows one environment per process. It is made on the first successful load and then lives as long as
//! the process: dropping it while a session runs elsewhere would pull the ground from under that session.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use trtforge_libraries::Found;

use crate::error::Result;
use crate::library::{self, Opened};

/// A version of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number; new operators come with it.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// Reads `1.32.0`, with anything behind the third number ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().ok()
        });
        let (major, minor) = (numbers.next()??, numbers.next()??);
        Some(Self { major, minor, patch: numbers.next().flatten().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// ONNX Runtime, loaded. Cheap to clone; usable from any thread.
#[derive(Debug, Clone)]
pub struct OnnxRuntime {
    pub(crate) environment: Environment,
    version: Version,
    found: Found,
}

static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);

impl OnnxRuntime {
    /// Loads the library on the first call; later calls return the same one, wherever the search would lead then.
    ///
    /// # Errors
    /// The library is missing, damaged, another library or too old. A later call tries again.
    pub fn load() -> Result<Self> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let Opened { environment, version, found } = library::open()?;
        Ok(loaded.insert(Self { environment, version, found }).clone())
    }

    /// The library's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.found.path
    }

    /// Where the library was found, and what a person should know about that.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let parse = |text| Version::parse(text).unwrap();
        assert!(parse("1.9.0") < parse("1.24.0"));
        assert_eq!(parse("1.32.0-dev.7").to_string(), "1.32.0");
        assert_eq!(parse("1.32").to_string(), "1.32.0");
        for bad in ["", "one", "1", ".1", "1.x"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
