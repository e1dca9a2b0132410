//! The photographs that arguments name.

use crate::failure::Failure;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::path::{Path, PathBuf};
use trtforge_vision::{IMAGE_EXTENSIONS, images_in, images_listed};

/// Every photograph, in the order it was named; those of a folder or a pattern by name.
///
/// # Errors
/// A list or a folder cannot be read, a pattern is none, or nothing is named in all.
pub fn list(arguments: &[String]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for argument in arguments {
        match argument.strip_prefix('@') {
            _ if argument == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("cannot read the list of images from stdin")?;
                files.extend(images_listed(&text, Path::new("")));
            }
            Some(list) if !Path::new(argument).exists() => {
                let text = std::fs::read_to_string(list)
                    .map_err(|error| Failure::input(format!("cannot read the list of images {list}")).because(error))?;
                files.extend(images_listed(&text, Path::new(list).parent().unwrap_or(Path::new(""))));
            }
            _ => files.extend(named(argument)?),
        }
    }
    if files.is_empty() {
        bail!(Failure::input(format!("there are no images in {}", arguments.join(", "))).hint(format!(
            "in folders, but not in folders within, files are looked for that end in {}",
            IMAGE_EXTENSIONS.join(", ")
        )));
    }
    Ok(files)
}

/// A folder's images, a pattern's matches, or the file itself: whether it is an image is seen when it is read.
fn named(argument: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(argument);
    if path.is_dir() {
        let failed = |error| Failure::input(format!("cannot read the folder {}", path.display())).because(error);
        return Ok(images_in(path).map_err(failed)?);
    }
    if path.exists() || !argument.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let matches =
        glob::glob(argument).map_err(|error| Failure::usage(format!("{argument} is no pattern")).because(error))?;
    let files: Vec<PathBuf> = matches.filter_map(Result::ok).filter(|file| file.is_file()).collect();
    if files.is_empty() {
        bail!(Failure::input(format!("nothing matches {argument}")).hint("check the pattern"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_patterns_and_lists() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["b.JPG", "a.png", "notes.txt", "c.jpeg"] {
            std::fs::write(at(name), b"").expect("a file");
        }
        std::fs::write(at("list.txt"), "# two of them\nc.jpeg\n\n  absent.jpg \n").expect("a list");
        let text = |name: &str| at(name).display().to_string();
        let names = |arguments: &[String]| -> Vec<String> {
            let files = list(arguments).expect("images");
            files.iter().map(|file| file.file_name().expect("a name").to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&[text("")]), ["a.png", "b.JPG", "c.jpeg"]);
        assert_eq!(names(&[text("*.j*"), text("notes.txt")]), ["c.jpeg", "notes.txt"]);
        assert_eq!(names(&[format!("@{}", text("list.txt"))]), ["c.jpeg", "absent.jpg"]);
        assert_eq!(names(&["absent.jpg".into()]), ["absent.jpg"]);
        for wrong in [text("*.gif"), text("[.jpg"), format!("@{}", text("absent"))] {
            assert!(list(std::slice::from_ref(&wrong)).is_err(), "{wrong}");
        }
        let empty = tempfile::tempdir().expect("a folder");
        assert!(list(&[empty.path().display().to_string()]).is_err());
    }
}
