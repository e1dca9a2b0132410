//! The error for a library that is nowhere, with the places that were looked at.

use std::fmt;
use std::path::PathBuf;

use crate::{Library, Source};

/// A folder that was looked at without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which rule of the search named the folder.
    pub source: Source,
    /// The folder.
    pub directory: PathBuf,
    /// Files there that are the library in another major version, by name.
    pub other_versions: Vec<String>,
}

/// A library that no folder of the search holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The library that was looked for.
    pub library: Library,
    /// Every place looked at, in the order of the search.
    pub places: Vec<Place>,
}

impl Missing {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(self.library.get.to_owned())
    }
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Library { what, .. } = self.library;
        let name = self.library.versioned_name();
        write!(out, "{name} ({what}) was not found; looked in ")?;
        let (system, named): (Vec<_>, Vec<_>) = self.places.iter().partition(|place| place.is_plain_system());
        for place in &named {
            write!(out, "{place}, ")?;
        }
        write!(out, "the system's {} library folders", system.len())
    }
}

impl Place {
    /// A folder of the system of which there is nothing to tell.
    fn is_plain_system(&self) -> bool {
        self.source == Source::System && self.other_versions.is_empty()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.directory.display(), self.source)?;
        if !self.other_versions.is_empty() {
            write!(out, " which holds only {}", self.other_versions.join(" and "))?;
        }
        Ok(())
    }
}
