//! Which files are photographs: those of a folder, those that a list names.

use std::io;
use std::path::{Path, PathBuf};

/// What the names of photographs in a folder end in, in letters of either case.
pub const IMAGE_EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "webp", "tif", "tiff", "gif"];

/// Whether a name is that of a photograph.
pub fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| IMAGE_EXTENSIONS.contains(&extension.as_str()))
}

/// The photographs of a folder, by name; those of folders in it are not, nor is what never ends, such as a pipe.
///
/// # Errors
/// The folder cannot be read.
pub fn images_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| is_image(file) && !is_special(file))
        .collect();
    files.sort();
    Ok(files)
}

/// Whether it is there, and neither a file nor a folder.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir())
}

/// The files that a list names, one a line, relative to the `folder` of the list. Empty lines and those that begin with `#`
/// name none, and a byte order mark is passed over.
pub fn images_listed(text: &str, folder: &Path) -> Vec<PathBuf> {
    let listed = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    listed.map(|line| folder.join(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_photographs_and_nothing_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.JPG", "a.png", "notes.txt", "noending"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        let pipe = folder.path().join("p.jpg");
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        std::os::unix::fs::symlink("nowhere", folder.path().join("c.gif")).unwrap();
        let names = images_in(folder.path()).unwrap();
        let names: Vec<_> = names.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.png", "b.JPG", "c.gif"]);
        assert!(images_in(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_list_is_relative_to_its_folder() {
        let listed = images_listed("\u{feff}a.jpg\r\n# b.jpg\n\n /c.jpg \n", Path::new("photos"));
        assert_eq!(listed, [Path::new("photos/a.jpg"), Path::new("/c.jpg")]);
    }
}
