//! The boxes in COCO's form of results, written as they are found.

use crate::detector::{Answer, Photo};
use crate::failure::Failure;
use crate::standard_output;
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use trtforge_builder::StagedFile;
use trtforge_vision::{ClassNames, Detection, coco_category_id};

/// A list of boxes that is being written.
pub struct Results<'r> {
    to: Destination,
    is_empty: bool,
    ids: Vec<i64>,
    files: &'r [PathBuf],
    classes: &'r ClassNames,
    coco_ids: bool,
}

enum Destination {
    Stdout(Unread),
    /// Stdout that was closed.
    Gone,
    File(Box<BufWriter<Writing>>),
}

/// What to do when whoever reads stdout has closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// End.
    Stop,
    /// Go on without it.
    GoOn,
}

/// A file under its temporary name.
struct Writing(StagedFile);

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.file().flush()
    }
}

#[derive(Serialize)]
struct Row<'a> {
    image_id: i64,
    category_id: i64,
    /// Left, top, width and height in pixels of the photograph.
    bbox: [f32; 4],
    score: f32,
    file_name: String,
    category: Option<&'a str>,
}

impl<'r> Results<'r> {
    /// Begins the list in a file, or on stdout where that is `-`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(
        to: &Path,
        files: &'r [PathBuf],
        classes: &'r ClassNames,
        coco_ids: bool,
        unread: Unread,
    ) -> Result<Self> {
        let to = match to.to_str() {
            Some("-") => Destination::Stdout(unread),
            _ => Destination::File(Box::new(BufWriter::new(Writing(StagedFile::create(to)?)))),
        };
        let mut results = Self { to, is_empty: true, ids: ids(files), files, classes, coco_ids };
        results.write(b"[")?;
        Ok(results)
    }

    /// Whether it goes to stdout.
    pub fn is_stdout(&self) -> bool {
        matches!(self.to, Destination::Stdout(_) | Destination::Gone)
    }

    /// Adds what was found.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, answer: &Answer) -> Result<()> {
        let mut text = Vec::new();
        for photo in &answer.photos {
            for detection in &photo.detections {
                text.extend_from_slice(if self.is_empty { b"\n" } else { b",\n" });
                self.is_empty = false;
                let row = self.row(photo, detection)?;
                serde_json::to_writer(&mut text, &row).context("cannot write a box as JSON")?;
            }
        }
        self.write(&text)
    }

    /// Ends the list and puts the file in its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn commit(mut self) -> Result<()> {
        self.write(b"\n]\n")?;
        match self.to {
            Destination::Stdout(_) | Destination::Gone => Ok(()),
            Destination::File(file) => {
                let writing = file.into_inner().map_err(std::io::IntoInnerError::into_error);
                Ok(writing.context("cannot write the boxes")?.0.commit()?)
            }
        }
    }

    fn row(&self, photo: &Photo, detection: &Detection) -> Result<Row<'_>> {
        let (bounds, class) = (detection.bounds, detection.class);
        let unknown = || {
            Failure::usage(format!("class {class} was found, which has no id of COCO's: its classes are 80"))
                .hint("leave --coco-ids out; ids are then the numbers of classes, from 0")
        };
        let category = if self.coco_ids { coco_category_id(class).ok_or_else(unknown)? } else { i64::from(class) };
        Ok(Row {
            image_id: self.ids.get(photo.index).copied().unwrap_or_default(),
            category_id: category,
            bbox: [bounds.left, bounds.top, bounds.width(), bounds.height()],
            score: detection.score,
            file_name: self.files.get(photo.index).map(|file| file.display().to_string()).unwrap_or_default(),
            category: self.classes.get(class),
        })
    }

    fn write(&mut self, text: &[u8]) -> Result<()> {
        match &mut self.to {
            Destination::Gone => Ok(()),
            Destination::Stdout(unread) => match standard_output::write(text) {
                Err(error) if *unread == Unread::GoOn && error.is::<standard_output::Closed>() => {
                    self.to = Destination::Gone;
                    Ok(())
                }
                written => written,
            },
            Destination::File(file) => file.write_all(text).context("cannot write the boxes"),
        }
    }
}

/// An id for each photograph: the number that its name is, as in COCO, where all are numbers and differ; else its place.
fn ids(files: &[PathBuf]) -> Vec<i64> {
    let number = |file: &PathBuf| file.file_stem()?.to_str()?.parse::<i64>().ok().filter(|id| *id >= 0);
    let mut taken = HashSet::new();
    let named: Option<Vec<i64>> = files.iter().map(|file| number(file).filter(|id| taken.insert(*id))).collect();
    named.unwrap_or_else(|| (1..).take(files.len()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_numbers_are_ids() {
        let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(ids(&files(&["a/000000000139.jpg", "7.png"])), [139, 7]);
        assert_eq!(ids(&files(&["a/1.jpg", "b/1.jpg"])), [1, 2]);
        assert_eq!(ids(&files(&["9.jpg", "street.jpg"])), [1, 2]);
    }
}
