//! Where pictures go: one file for all of them, or a file each in a folder.

use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use trtforge_builder::StagedFile;

/// The files of some pictures, begun and not yet in their places.
pub struct PlotFiles {
    /// Each with the number of its picture; none for all pictures in one.
    files: Vec<(StagedFile, Option<usize>)>,
}

impl PlotFiles {
    /// Begins the files. A place whose name ends in `.svg` is one file, any other a folder, which is made, with a file of each name.
    ///
    /// # Errors
    /// When the place cannot be written to.
    pub fn prepare(place: &Path, names: &[&str]) -> Result<Self> {
        let begin = |(path, picture): (PathBuf, _)| Ok((StagedFile::create(&path)?, picture));
        let files = paths(place, names)?.into_iter().map(begin).collect::<Result<_>>()?;
        Ok(Self { files })
    }

    /// Draws every picture, then puts the files in their places. Pictures go by the position of their name; none asks for all of them in one.
    ///
    /// # Errors
    /// When one cannot be drawn or written.
    pub fn write(self, draw: impl Fn(Option<usize>) -> Result<String>) -> Result<()> {
        let mut drawn = Vec::new();
        for (mut file, picture) in self.files {
            let written = file.file().write_all(draw(picture)?.as_bytes());
            written.with_context(|| format!("cannot write {}", file.target().display()))?;
            drawn.push(file);
        }
        drawn.into_iter().try_for_each(|file| Ok(file.commit()?))
    }
}

fn paths(place: &Path, names: &[&str]) -> Result<Vec<(PathBuf, Option<usize>)>> {
    if place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) && !place.is_dir() {
        return Ok(vec![(place.to_owned(), None)]);
    }
    std::fs::create_dir_all(place).with_context(|| format!("cannot make the folder {}", place.display()))?;
    Ok(names.iter().enumerate().map(|(number, name)| (place.join(name), Some(number))).collect())
}
