//! Opens the shared library, after every check that can be made without it.
//!
//! `ort` panics, or waits for a lock that it holds itself, when the library turns out to be unusable late. So the file is
//! found, checked to be whole and asked for its version here, and `ort` only sees a library that will do.

use std::ffi::CStr;
use std::path::Path;

use ort::environment::Environment;
use trtforge_libraries::{Found, ONNX_RUNTIME, find};

use crate::error::{Error, Result};
use crate::log;
use crate::runtime::Version;

/// The oldest version that has every option this crate relies on: an older one would fold the weights of quantized models
/// (before 1.26) and write out constants of any size (before 1.28). `ort`'s `api-` feature must not be above it.
pub(crate) const OLDEST: Version = Version { major: 1, minor: 28, patch: 0 };

/// The library, ready for sessions.
pub(crate) struct Opened {
    pub(crate) environment: Environment,
    pub(crate) version: Version,
    pub(crate) found: Found,
}

/// Finds, checks and opens the library.
pub(crate) fn open() -> Result<Opened> {
    let found = find(&ONNX_RUNTIME)?;
    let path = found.path.as_path();
    trtforge_libraries::check(path)?;
    let version = check_version(path)?;
    let builder = ort::init_from(path).map_err(|source| Error::Load { path: path.into(), source: source.into() })?;
    let builder = builder.with_name("trtforge").with_telemetry(false).with_logger(log::silent());
    let environment = builder.build().map_err(|error| Error::Start { reason: error.message().to_owned() })?;
    Ok(Opened { environment, version, found })
}

fn check_version(path: &Path) -> Result<Version> {
    let text = version_text(path)?;
    let version = Version::parse(&text).filter(|version| *version >= OLDEST);
    version.ok_or(Error::TooOld { path: path.into(), found: text, needed: OLDEST })
}

/// What the library at `path` says its version is.
#[allow(unsafe_code)]
fn version_text(path: &Path) -> Result<String> {
    type GetApiBase = unsafe extern "C" fn() -> *const ort::sys::OrtApiBase;
    let wrong = || Error::WrongLibrary { path: path.into() };
    // SAFETY: loading runs the file's initialisers. The file is a whole shared object that the search order or the user
    // named as ONNX Runtime, whose initialisers have no precondition; the handle lives to the end of this function.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.map_err(|source| Error::Load { path: path.into(), source: source.into() })?;
    // SAFETY: the type is that of the symbol in ONNX Runtime's C interface, unchanged since its first version.
    let get = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }.map_err(|_| wrong())?;
    // SAFETY: takes nothing and returns a pointer to static data of the library, which is still open.
    let base = unsafe { get().as_ref() }.ok_or_else(wrong)?;
    // SAFETY: the table's function returns a static string that ends in a zero byte.
    let text = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    Ok(text.to_string_lossy().into_owned())
}
