//! The photographs with boxes drawn into them.

use crate::detector::{Answer, Photo};
use crate::failure::Failure;
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use trtforge_builder::StagedFile;
use trtforge_vision::{ClassNames, annotate, encode_image};

/// A folder of annotated photographs.
pub struct Pictures<'p> {
    /// The folder, links followed.
    folder: PathBuf,
    /// Where each photograph goes.
    targets: Vec<PathBuf>,
    classes: &'p ClassNames,
}

impl<'p> Pictures<'p> {
    /// Makes the folder, and gives each file a name in it: its own, with a number where two have the same.
    ///
    /// # Errors
    /// The folder cannot be made, or a picture would replace the photograph it shows.
    pub fn create(folder: &Path, files: &[PathBuf], classes: &'p ClassNames) -> Result<Self> {
        let failed = |error| Failure::usage(format!("cannot make the folder {}", folder.display())).because(error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let names = names(files);
        let targets: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        let folder = folder.canonicalize().map_err(failed)?;
        let parents: HashSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        let refused = |message| Err(Failure::usage(message).hint("choose another folder with --out").into());
        if let Some(parent) = parents.into_iter().find(|parent| settled(parent).as_ref() == Some(&folder)) {
            return refused(format!("photographs lie in the folder that is written to: {}", parent.display()));
        }
        // Links may lead to photographs there.
        let there: HashSet<_> = targets.iter().filter_map(|target| identity(target)).collect();
        let mut read = files.iter().filter(|_| !there.is_empty());
        if let Some(file) = read.find(|file| identity(file).is_some_and(|file| there.contains(&file))) {
            return refused(format!("a picture with boxes would replace the photograph {}", file.display()));
        }
        Ok(Self { folder, targets, classes })
    }

    /// Whether one of the pictures goes to this file.
    pub fn includes(&self, file: &Path) -> bool {
        file.parent().and_then(settled).is_some_and(|folder| folder == self.folder)
            && self.targets.iter().any(|target| target.file_name() == file.file_name())
    }

    /// Draws into the photographs of an answer and writes them; their pixels are given up.
    ///
    /// # Errors
    /// A picture cannot be written.
    pub fn draw(&self, answer: &mut Answer) -> Result<()> {
        answer.photos.iter_mut().try_for_each(|photo| self.draw_one(photo))
    }

    fn draw_one(&self, photo: &mut Photo) -> Result<()> {
        let (Some(mut image), Some(target)) = (photo.image.take(), self.targets.get(photo.index)) else {
            return Ok(());
        };
        annotate(&mut image, &photo.detections, self.classes);
        let bytes = encode_image(&image, target).with_context(|| format!("cannot make {}", target.display()))?;
        Ok(StagedFile::write(target, &bytes)?.commit()?)
    }
}

/// What makes a file that is there the same under all its names.
fn identity(file: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn settled(folder: &Path) -> Option<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().ok()
}

/// A name for each file that no other has. PNG stays PNG; everything else becomes JPEG.
fn names(files: &[PathBuf]) -> Vec<String> {
    let mut taken = HashSet::new();
    // Numbers below these are known to be taken.
    let mut least: HashMap<String, u64> = HashMap::new();
    let name = |file: &PathBuf| {
        let stem = file.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy().into_owned());
        let is_png = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
        let extension = if is_png { "png" } else { "jpg" };
        let numbered = |number: u64| match number {
            1 => format!("{stem}.{extension}"),
            _ => format!("{stem}-{number}.{extension}"),
        };
        let number = least.entry(numbered(1).to_lowercase()).or_insert(1);
        while !taken.insert(numbered(*number).to_lowercase()) {
            *number += 1;
        }
        numbered(*number)
    };
    files.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pictures_have_one_name() {
        let files = ["a/x.jpg", "b/x.jpeg", "b/X.PNG", "c/x.bmp", "x-2.jpg"].map(PathBuf::from);
        assert_eq!(names(&files), ["x.jpg", "x-2.jpg", "X.png", "x-3.jpg", "x-2-2.jpg"]);
    }
}
