//! Versions of TensorRT, of the library at hand and of the headers this crate was built against.

use std::fmt;

/// A version of TensorRT, ordered from old to new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number: libraries of another major version do not fit.
    pub major: u32,
    /// Second number: grows when something is added.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The version in TensorRT's own single number, `major * 10000 + minor * 100 + patch`.
    pub(crate) fn from_number(number: u32) -> Self {
        Self { major: number / 10_000, minor: number / 100 % 100, patch: number % 100 }
    }

    /// Whether a library of this version can serve callers built against `headers`.
    pub(crate) fn serves(self, headers: Self) -> bool {
        self.major == headers.major && self >= headers
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> Version {
        Version::from_number(number)
    }

    #[test]
    fn numbers_are_taken_apart() {
        assert_eq!(version(10_701).to_string(), "1.7.1");
        assert_eq!(version(110_400).to_string(), "11.4.0");
    }

    #[test]
    fn only_newer_libraries_of_the_same_major_version_serve() {
        let headers = version(10_701);
        assert!(version(10_701).serves(headers));
        assert!(version(10_800).serves(headers));
        assert!(!version(10_700).serves(headers));
        assert!(!version(10_600).serves(headers));
        assert!(!version(20_000).serves(headers));
    }
}
