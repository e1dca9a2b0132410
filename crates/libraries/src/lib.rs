//! Where the shared libraries of this project's dependencies are found.
//!
//! Three libraries are opened at run time and none is vendored, so every crate that needs one asks
//! here. Having one search keeps the order, and the error that tells a person where we looked, the
//! same everywhere. This crate never opens a library: it names a file,
//! [checks][check] that it is whole, and leaves loading to its caller.
//!
//! ```no_run
//! let found = trtforge_libraries::find(&trtforge_libraries::ONNX_RUNTIME)?;
//! println!("{} ({})", found.path.display(), found.source);
//! # Ok::<(), trtforge_libraries::Missing>(())
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod file_name;
mod intact;
mod library;
mod missing;
mod search;
mod system;

pub use intact::{Unusable, check};
pub use library::{Library, ONNX_PARSER, ONNX_RUNTIME, TENSORRT};
pub use missing::{Missing, Place};
pub use search::{ENVIRONMENT_VARIABLE, Found, Search, Source};

/// Finds `library` on this machine, as the environment stands now.
///
/// # Errors
/// [`Missing`], which lists every place looked at, when no folder holds a suitable file.
pub fn find(library: &Library) -> Result<Found, Missing> {
    Search::from_environment().find(library)
}
