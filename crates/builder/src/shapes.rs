//! Shapes a build is asked for: one range per input, from `NAME=1x3x640x640` options or the config's `shapes` block.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A fully known shape, written `1x3x640x640`; `scalar` where it has no dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<u64>);

/// A text that is no shape or no `NAME=SHAPE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ShapeParseError {
    /// What was given.
    pub text: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

impl FromStr for Shape {
    type Err = ShapeParseError;

    fn from_str(text: &str) -> Result<Self, ShapeParseError> {
        if text.trim() == "scalar" {
            return Ok(Shape(vec![]));
        }
        let dimensions: Option<Vec<u64>> = text.trim().split(['x', 'X', ',']).map(dimension).collect();
        dimensions.map(Shape).ok_or_else(|| ShapeParseError {
            text: text.to_owned(),
            expected: "a shape: whole numbers above zero joined by `x`, such as 1x3x640x640",
        })
    }
}

fn dimension(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&d| d > 0 && d <= i32::MAX as u64)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        let dimensions: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&dimensions.join("x"))
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A shape for a named input: `images=1x3x640x640`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedShape {
    /// Input name; may itself contain `:` or `=` (the last `=` separates).
    pub input: String,
    /// Its shape.
    pub shape: Shape,
}

impl FromStr for NamedShape {
    type Err = ShapeParseError;

    fn from_str(text: &str) -> Result<Self, ShapeParseError> {
        let (input, shape) = text.rsplit_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            ShapeParseError { text: text.to_owned(), expected: "NAME=SHAPE, such as images=1x3x640x640" }
        })?;
        Ok(NamedShape { input: input.to_owned(), shape: shape.parse()? })
    }
}

/// Smallest, most likely and largest shape of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeRange {
    /// Smallest shape the engine accepts.
    pub min: Shape,
    /// The shape the engine is tuned for.
    pub opt: Shape,
    /// Largest shape the engine accepts; device memory is sized for it.
    pub max: Shape,
}

impl ShapeRange {
    /// A range of one shape.
    pub fn fixed(shape: Shape) -> Self {
        ShapeRange { min: shape.clone(), opt: shape.clone(), max: shape }
    }

    /// Whether every dimension has one value only.
    pub fn is_fixed(&self) -> bool {
        self.min == self.max
    }

    /// The first dimension where `min <= opt <= max` does not hold, or 0 where the ranks differ.
    pub fn contradiction(&self) -> Option<usize> {
        let rank = self.opt.0.len();
        if self.min.0.len() != rank || self.max.0.len() != rank {
            return Some(0);
        }
        (0..rank).find(|&d| self.min.0[d] > self.opt.0[d] || self.opt.0[d] > self.max.0[d])
    }
}

/// What the config's `shapes` block gives for one input: one shape, or a range.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeEntry {
    /// Smallest shape; `opt` where absent.
    #[serde(default)]
    pub min: Option<Shape>,
    /// Most likely shape; `max`, then `min` where absent.
    #[serde(default)]
    pub opt: Option<Shape>,
    /// Largest shape; `opt` where absent.
    #[serde(default)]
    pub max: Option<Shape>,
}

/// Requested ranges by input name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShapeRequest(BTreeMap<String, ShapeEntrySerialized>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct ShapeEntrySerialized {
    min: Option<Shape>,
    opt: Option<Shape>,
    max: Option<Shape>,
}

impl ShapeRequest {
    /// Nothing asked: every dimension as in the model.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the smallest shape of an input.
    pub fn set_min(&mut self, shape: NamedShape) {
        self.0.entry(shape.input).or_default().min = Some(shape.shape);
    }

    /// Sets the most likely shape of an input.
    pub fn set_opt(&mut self, shape: NamedShape) {
        self.0.entry(shape.input).or_default().opt = Some(shape.shape);
    }

    /// Sets the largest shape of an input.
    pub fn set_max(&mut self, shape: NamedShape) {
        self.0.entry(shape.input).or_default().max = Some(shape.shape);
    }

    /// Adds a config entry; shapes that are already set (by an option) win.
    pub fn add_entry(&mut self, input: &str, entry: &ShapeEntry) {
        let target = self.0.entry(input.to_owned()).or_default();
        target.min = target.min.take().or_else(|| entry.min.clone());
        target.opt = target.opt.take().or_else(|| entry.opt.clone());
        target.max = target.max.take().or_else(|| entry.max.clone());
    }

    /// The ranges, absent bounds filled from the ones given: `opt` from `max` or `min`, `min` and `max` from `opt`.
    pub fn ranges(&self) -> BTreeMap<String, ShapeRange> {
        self.0.iter().filter_map(|(name, entry)| Some((name.clone(), entry.range()?))).collect()
    }
}

impl ShapeEntrySerialized {
    fn range(&self) -> Option<ShapeRange> {
        let opt = self.opt.clone().or_else(|| self.max.clone()).or_else(|| self.min.clone())?;
        let min = self.min.clone().unwrap_or_else(|| opt.clone());
        let max = self.max.clone().unwrap_or_else(|| opt.clone());
        Some(ShapeRange { min, opt, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_contain_separators() {
        let shape: NamedShape = "model/in=put:0=1x3x8x8".parse().unwrap();
        assert_eq!((shape.input.as_str(), shape.shape.0.as_slice()), ("model/in=put:0", [1, 3, 8, 8].as_slice()));
    }

    #[test]
    fn open_or_empty_dimensions_are_refused() {
        for text in ["x=1x?x3", "x=", "x=1x0x3", "=1x3", "x=1x-1", "x", "x=1x99999999999"] {
            assert!(text.parse::<NamedShape>().is_err(), "{text}");
        }
    }

    #[test]
    fn absent_bounds_come_from_the_ones_given() {
        let mut request = ShapeRequest::default();
        request.set_opt("x=1x8".parse().unwrap());
        assert!(request.ranges()["x"].is_fixed());
        request.set_max("x=4x8".parse().unwrap());
        assert_eq!(request.ranges()["x"].min.0, [1, 8]);
        assert_eq!(request.ranges()["x"].contradiction(), None);
        request.set_min("x=2x8".parse().unwrap());
        assert_eq!(request.ranges()["x"].contradiction(), Some(0));
    }
}
