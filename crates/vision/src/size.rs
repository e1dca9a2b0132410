//! Width and height, written `640x480`.
//!
//! The order is that of image tools, width first; tensor shapes have the height first, so the two must not be mixed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Width and height in pixels. Its text form is `WIDTHxHEIGHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// Largest width and height.
    pub const MAX: u32 = 32_768;

    /// A size of `width` by `height` pixels.
    ///
    /// # Errors
    /// One of them is 0 or above [`Size::MAX`].
    pub fn new(width: u32, height: u32) -> Result<Self> {
        let valid = |side| (1..=Self::MAX).contains(&side);
        match valid(width) && valid(height) {
            true => Ok(Self { width, height }),
            false => Err(Error::BadSize { text: format!("{width}x{height}"), limit: Self::MAX }),
        }
    }
}

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::BadSize { text: text.to_owned(), limit: Self::MAX };
        let (width, height) = text.split_once(['x', 'X']).ok_or_else(bad)?;
        let side = |text: &str| text.trim().parse::<u32>().map_err(|_| bad());
        Self::new(side(width)?, side(height)?).map_err(|_| bad())
    }
}

impl TryFrom<String> for Size {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_comes_first() {
        let size: Size = "640x480".parse().unwrap();
        assert_eq!((size.width, size.height), (640, 480));
        assert_eq!(size.to_string(), "640x480");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "640", "x", "640x", "0x5", "-1x5", "1.5x2", "640x480x3", "99999x1", "640×480"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
