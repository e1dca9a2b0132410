//! The search itself: which folders, in which order, and which file of a folder.
//!
//! Order: the folder named by `TRTFORGE_LIB_DIR`; `.deps/lib` in the working directory and in every
//! folder above it; the executable's own folder, then `.deps/lib` from there upward; the folders of
//! the system's loader. The first folder with a suitable file wins; within a folder the newest
//! version does. It never opens a library, and reads no environment beyond [`Search::from_environment`].

use std::fmt;
use std::path::{Path, PathBuf};

use crate::file_name::{Match, classify};
use crate::{Library, Missing, Place, system};

/// Environment variable that names the folder looked at first.
pub const ENVIRONMENT_VARIABLE: &str = "TRTFORGE_LIB_DIR";

/// Which rule of the search led to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The folder that [`ENVIRONMENT_VARIABLE`] names.
    EnvDir,
    /// `.deps/lib` in the working directory or above it.
    Deps,
    /// The executable's folder, or `.deps/lib` there or above it.
    BesideExecutable,
    /// A folder of the system's loader, `LD_LIBRARY_PATH` included.
    System,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::EnvDir => ENVIRONMENT_VARIABLE,
            Self::Deps => "from the working directory upward",
            Self::BesideExecutable => "from the program's folder upward",
            Self::System => "system library folder",
        })
    }
}

/// A library that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, with its folder.
    pub path: PathBuf,
    /// Which rule found it.
    pub source: Source,
    /// The folder named by [`ENVIRONMENT_VARIABLE`] when it was set but does not hold the library.
    pub passed_over: Option<PathBuf>,
}

impl Found {
    /// Something a person should know about where the library came from, if anything.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let folder = self.passed_over.as_ref()?;
        Some(format!(
            "{ENVIRONMENT_VARIABLE}={} does not hold {}; using {} ({})",
            folder.display(),
            self.path.file_name().unwrap_or_default().display(),
            self.path.display(),
            self.source
        ))
    }
}

/// The folders to look at; build one by hand to search somewhere else than this process would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Folder looked at first, from [`ENVIRONMENT_VARIABLE`].
    pub environment_directory: Option<PathBuf>,
    /// Folder from which `.deps/lib` is looked for upward.
    pub working_directory: Option<PathBuf>,
    /// Folder of the executable.
    pub executable_directory: Option<PathBuf>,
    /// Folders of the system's loader.
    pub system_directories: Vec<PathBuf>,
}

impl Search {
    /// The search of this process: environment, working directory, executable and system as they are now.
    #[must_use]
    pub fn from_environment() -> Self {
        let environment_directory =
            std::env::var_os(ENVIRONMENT_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let executable = std::env::current_exe().ok();
        Self {
            environment_directory: environment_directory.map(absolute),
            working_directory: std::env::current_dir().ok(),
            executable_directory: executable.and_then(|path| Some(path.parent()?.to_owned())),
            system_directories: system::directories(),
        }
    }

    /// Finds `library` in the first folder that holds a suitable file.
    ///
    /// # Errors
    /// [`Missing`] when no folder does.
    pub fn find(&self, library: &Library) -> Result<Found, Missing> {
        let mut places: Vec<Place> = Vec::new();
        for (source, directory) in self.directories() {
            if places.iter().any(|place| place.directory == directory) {
                continue;
            }
            let content = look_into(&directory, library);
            if let Some(path) = content.best {
                let passed_over = self.environment_directory.clone();
                return Ok(Found { path, source, passed_over: passed_over.filter(|_| source != Source::EnvDir) });
            }
            places.push(Place { source, directory, other_versions: content.other_versions });
        }
        Err(Missing { library: *library, places })
    }

    /// Every folder to look at, in order, with the rule that names it.
    fn directories(&self) -> Vec<(Source, PathBuf)> {
        let mut all = Vec::new();
        all.extend(self.environment_directory.iter().map(|it| (Source::EnvDir, it.clone())));
        if let Some(start) = &self.working_directory {
            all.extend(upward(start).map(|it| (Source::Deps, it)));
        }
        if let Some(start) = &self.executable_directory {
            all.push((Source::BesideExecutable, start.clone()));
            all.extend(upward(start).map(|it| (Source::BesideExecutable, it)));
        }
        all.extend(self.system_directories.iter().map(|it| (Source::System, it.clone())));
        all
    }
}

/// `.deps/lib` of `start`, then of each folder above that has one.
fn upward(start: &Path) -> impl Iterator<Item = PathBuf> {
    start
        .ancestors()
        .map(|folder| folder.join(".deps/lib"))
        .enumerate()
        .filter(|(steps, folder)| *steps == 0 || folder.is_dir())
        .map(|(_, folder)| folder)
}

/// The absolute form of `path`, so that a later change of the working directory cannot matter.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// What one folder holds of a library.
struct Content {
    best: Option<PathBuf>,
    other_versions: Vec<String>,
}

/// Looks at the files of one folder; a folder that cannot be read holds nothing.
fn look_into(directory: &Path, library: &Library) -> Content {
    let mut best: Option<(Match, PathBuf)> = None;
    let mut other_versions = Vec::new();
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(found) = name.to_str().and_then(|name| classify(name, library)) else {
            continue;
        };
        let path = entry.path();
        if !path.is_file() {
            continue;
        }
        if found == Match::OtherMajor {
            other_versions.push(name.to_string_lossy().into_owned());
        } else if best.as_ref().is_none_or(|(version, _)| *version < found) {
            best = Some((found, path));
        }
    }
    other_versions.sort();
    Content { best: best.map(|(_, path)| path), other_versions }
}
