//! The folders in which the system's loader looks for libraries.
//!
//! Read from `LD_LIBRARY_PATH` and the loader's configuration files instead of asking the loader,
//! because asking means opening the library, and because a path can be shown to a person.
//! Configuration that cannot be read is skipped: the folders it names are then not searched.

use std::path::{Path, PathBuf};

const CONFIGURATION: &str = "/etc/ld.so.conf";
const DEFAULTS: [&str; 4] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// A configuration that includes itself must end somewhere.
const DEEPEST_INCLUDE: usize = 4;

/// Every existing folder of the loader, in its order, each once.
pub(crate) fn directories() -> Vec<PathBuf> {
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut candidates: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| path.is_absolute()).collect();
    read_configuration(Path::new(CONFIGURATION), DEEPEST_INCLUDE, &mut candidates);
    candidates.extend(DEFAULTS.map(PathBuf::from));
    let mut directories = Vec::new();
    for candidate in candidates {
        if candidate.is_dir() && !directories.contains(&candidate) {
            directories.push(candidate);
        }
    }
    directories
}

/// Adds the folders that one configuration file names, following its includes.
fn read_configuration(file: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            if depth > 0 {
                for included in matching_files(pattern.trim()) {
                    read_configuration(&included, depth - 1, folders);
                }
            }
        } else if line.starts_with('/') {
            folders.push(PathBuf::from(line));
        }
    }
}

/// The files that `folder/*.suffix` names, sorted; any other pattern is taken as a plain path.
fn matching_files(pattern: &str) -> Vec<PathBuf> {
    let Some((folder, suffix)) = pattern.split_once("/*") else {
        return vec![PathBuf::from(pattern)];
    };
    let entries = Path::new(folder).read_dir().into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(suffix))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_followed_through_its_includes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let write = |name: &str, text: String| {
            std::fs::write(root.join(name), text).expect("a configuration file");
        };
        write("main", format!("# comment\ninclude {}/*.conf\n/last # why\n", root.display()));
        write("b.conf", format!("/second\ninclude {}/main\n", root.display()));
        write("a.conf", "/first\n".to_owned());
        write("c.txt", "/never\n".to_owned());
        let mut folders = Vec::new();
        read_configuration(&root.join("main"), 1, &mut folders);
        assert_eq!(folders, ["/first", "/second", "/last"].map(PathBuf::from));
    }

    #[test]
    fn this_machine_has_library_folders_each_once() {
        let mut folders = directories();
        let before = folders.len();
        folders.sort();
        folders.dedup();
        assert!(before > 0);
        assert_eq!(before, folders.len());
    }
}
