//! Numbers of bytes as a person reads them.

use std::fmt;

/// A number of bytes; shown in the largest binary unit that fits, with the exact number where that rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// `count` MiB in bytes.
#[must_use]
pub const fn mib(count: u64) -> u64 {
    count << 20
}

/// `count` GiB in bytes.
#[must_use]
pub const fn gib(count: u64) -> u64 {
    count << 30
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return write!(out, "{} B", self.0);
        };
        if self.0.is_multiple_of(unit) {
            return write!(out, "{} {name}", self.0 / unit);
        }
        write!(out, "{:.2} {name} ({} B)", self.0 as f64 / unit as f64, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_differ_by_a_byte_read_differently() {
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(mib(256)).to_string(), "256 MiB");
        assert_eq!(Bytes(mib(256) + 1).to_string(), "256.00 MiB (268435457 B)");
        assert_eq!(Bytes(gib(1)).to_string(), "1 GiB");
    }
}
