//! Sizes in bytes as people write them: `512MiB`, `1GiB`, `2000000`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A number of bytes greater than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: {reason}; sizes are written 512MiB, 1GiB or 2000000")]
pub struct SizeError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const UNITS: [(&str, u64); 10] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
    ("", 1),
];

impl ByteSize {
    /// A size of `bytes`, or `None` for zero.
    pub fn new(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(ByteSize(bytes))
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = |reason| SizeError { text: text.to_owned(), reason };
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(error("it is negative"));
        }
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim().to_ascii_lowercase();
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| error("its unit is unknown"))?.1;
        let number: f64 = number.parse().map_err(|_| error("it has no number"))?;
        let bytes = number * factor as f64;
        if bytes > (1u64 << 62) as f64 {
            return Err(error("it is too large"));
        }
        ByteSize::new(bytes.round() as u64).ok_or_else(|| error("it is zero"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_bytes(self.0))
    }
}

/// Writes a byte count with a binary unit and one decimal: `54.6 MiB`.
pub fn format_bytes(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)].into_iter().find(|(_, shift)| bytes >= 1 << shift);
    match unit {
        Some((name, shift)) => format!("{:.1} {name}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(NumberOrText)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

struct NumberOrText;

impl serde::de::Visitor<'_> for NumberOrText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as 512MiB or 2000000")
    }

    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(ByteSize::bytes);
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("2000000"), Ok(2_000_000));
        assert_eq!(bytes("1.5 kb"), Ok(1500));
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        let reason = |text: &str| text.parse::<ByteSize>().unwrap_err().reason;
        assert_eq!(reason("0"), "it is zero");
        assert_eq!(reason("-5MiB"), "it is negative");
        assert_eq!(reason("12 apples"), "its unit is unknown");
        assert_eq!(reason("MiB"), "it has no number");
        assert_eq!(reason(""), "it has no number");
        assert_eq!(reason("99999999999TiB"), "it is too large");
    }
}
