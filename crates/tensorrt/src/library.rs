//! Opening TensorRT and its ONNX parser, and checking that they are what they should be.
//!
//! The libraries are never closed: TensorRT starts threads and registers handlers that outlive its
//! objects. Neither is opened for global symbol lookup, so their bundled protobuf cannot mix with
//! another library's; the parser still finds TensorRT, which is open by then, by its soname.

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};
use trtforge_libraries::{ONNX_PARSER, TENSORRT};

use crate::{Builder, Error, Result, Runtime, Version};

/// Which TensorRT this program is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// TensorRT-RTX.
    Rtx,
    /// TensorRT for data-centre and Jetson-class parts.
    Enterprise,
}

impl Flavour {
    /// The flavour of this program, chosen when it was compiled.
    #[must_use]
    pub const fn of_this_program() -> Self {
        if cfg!(feature = "enterprise") { Self::Enterprise } else { Self::Rtx }
    }

    /// The flavour in one lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtx => "rtx",
            Self::Enterprise => "enterprise",
        }
    }
}

type CreateFromLogger = unsafe extern "C" fn(logger: *mut c_void, version: i32) -> *mut c_void;
type CreateParser = unsafe extern "C" fn(network: *mut c_void, logger: *mut c_void, version: c_int) -> *mut c_void;
type LibraryVersion = unsafe extern "C" fn() -> i32;

/// TensorRT, opened: where builders and runtimes come from.
///
/// Cheap to copy, usable from any thread, never closed.
#[derive(Debug, Clone, Copy)]
pub struct TensorRt {
    create_builder: CreateFromLogger,
    create_runtime: CreateFromLogger,
    create_parser: CreateParser,
    version: Version,
}

/// The one that [`TensorRt::load`] found.
static LOADED: Mutex<Option<TensorRt>> = Mutex::new(None);

impl TensorRt {
    /// Finds and opens TensorRT and its parser; later calls give the same again.
    ///
    /// The first call sets `CUDA_MODULE_LOADING=LAZY` unless the variable is set, so it belongs
    /// before the start of threads that read the environment outside Rust.
    ///
    /// # Errors
    /// When a library is missing, damaged, not TensorRT, or of a version that does not fit. A
    /// failure is not remembered: the next call looks again.
    pub fn load() -> Result<Self> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensorrt) = *loaded {
            return Ok(tensorrt);
        }
        let tensorrt = trtforge_libraries::find(&TENSORRT).map_err(Error::Missing)?;
        let parser = trtforge_libraries::find(&ONNX_PARSER).map_err(Error::Missing)?;
        Ok(*loaded.insert(Self::open(&tensorrt.path, &parser.path)?))
    }

    /// Opens the two libraries at the paths given.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn open(tensorrt: &Path, parser: &Path) -> Result<Self> {
        load_kernels_lazily();
        let main = open(tensorrt)?;
        // SAFETY: TensorRT's headers declare these entry points with these types.
        let (version, create_builder, create_runtime) = unsafe {
            (
                entry::<LibraryVersion>(&main, tensorrt, "getInferLibVersion")?,
                entry::<CreateFromLogger>(&main, tensorrt, "createInferBuilder_INTERNAL")?,
                entry::<CreateFromLogger>(&main, tensorrt, "createInferRuntime_INTERNAL")?,
            )
        };
        // SAFETY: takes nothing, returns a number, needs no set-up.
        let version = check_version(tensorrt, unsafe { version() }, headers())?;
        let second = open(parser)?;
        // SAFETY: the parser's header declares these entry points with these types.
        let (parser_version, create_parser) = unsafe {
            (
                entry::<LibraryVersion>(&second, parser, "getNvOnnxParserVersion")?,
                entry::<CreateParser>(&second, parser, "createNvOnnxParser_INTERNAL")?,
            )
        };
        // SAFETY: takes nothing, returns a number, needs no set-up.
        check_version(parser, unsafe { parser_version() }, parser_headers())?;
        Ok(Self { create_builder, create_runtime, create_parser, version })
    }

    /// Version of the library that was opened.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Which TensorRT this is.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        Flavour::of_this_program()
    }

    /// A builder of engines; needs no GPU with TensorRT-RTX.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none.
    pub fn builder(&self) -> Result<Builder> {
        Builder::new(*self)
    }

    /// A runtime, which loads engines.
    ///
    /// # Errors
    /// [`Error::Create`] when TensorRT makes none.
    pub fn runtime(&self) -> Result<Runtime> {
        Runtime::new(*self)
    }

    /// A new `IBuilder`, or null.
    pub(crate) fn create_builder(&self, logger: *mut c_void) -> *mut c_void {
        // SAFETY: callers pass the interface of a logger lease, which outlives the builder.
        unsafe { (self.create_builder)(logger, headers_number()) }
    }

    /// A new `IRuntime`, or null.
    pub(crate) fn create_runtime(&self, logger: *mut c_void) -> *mut c_void {
        // SAFETY: callers pass the interface of a logger lease, which outlives the runtime.
        unsafe { (self.create_runtime)(logger, headers_number()) }
    }

    /// A new `IParser` for `network`, or null.
    ///
    /// # Safety
    /// `network` is an `INetworkDefinition` that outlives the parser's last use; `logger` is the
    /// interface of a lease that outlives the parser.
    pub(crate) unsafe fn create_parser(&self, network: *mut c_void, logger: *mut c_void) -> *mut c_void {
        // SAFETY: takes nothing, returns a constant of the headers.
        let version = unsafe { trtx_sys::get_nvonnxparser_version() };
        // SAFETY: the entry point's contract is this function's.
        unsafe { (self.create_parser)(network, logger, version.cast_signed()) }
    }
}

/// Has CUDA load kernels when they are first used, which saves hundreds of megabytes.
fn load_kernels_lazily() {
    const VARIABLE: &str = "CUDA_MODULE_LOADING";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: Rust's own readers of the environment are locked out by the standard library;
        // `load` tells callers to come here before threads that read it from C.
        unsafe { std::env::set_var(VARIABLE, "LAZY") };
    }
}

/// Opens a library for the rest of the process.
fn open(path: &Path) -> Result<std::mem::ManuallyDrop<Library>> {
    trtforge_libraries::check(path).map_err(Error::Unusable)?;
    // SAFETY: running the library's initialisers is the point of opening it; the file was looked
    // for under TensorRT's name and is a whole shared library.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|source| Error::Open { path: path.to_owned(), source })?;
    Ok(std::mem::ManuallyDrop::new(library))
}

/// An entry point of a library.
///
/// # Safety
/// `T` is the entry point's type.
unsafe fn entry<T: Copy>(library: &Library, path: &Path, symbol: &'static str) -> Result<T> {
    // SAFETY: by this function's contract; the library is never closed, so a copy stays valid.
    let found: std::result::Result<Symbol<T>, _> = unsafe { library.get(symbol) };
    found.map(|it| *it).map_err(|source| Error::Symbol { path: path.to_owned(), symbol, source })
}

/// The version of the headers, in TensorRT's single number.
fn headers_number() -> i32 {
    // SAFETY: takes nothing, returns a constant of the headers.
    unsafe { trtx_sys::get_tensorrt_version() }.cast_signed()
}

/// The version of TensorRT's headers.
pub(crate) fn headers() -> Version {
    Version::from_number(headers_number().unsigned_abs())
}

/// The version of the parser's headers.
fn parser_headers() -> Version {
    // SAFETY: takes nothing, returns a constant of the headers.
    Version::from_number(unsafe { trtx_sys::get_nvonnxparser_version() })
}

/// The library's version, if it fits the headers.
fn check_version(path: &Path, number: i32, wanted: Version) -> Result<Version> {
    let found = Version::from_number(number.unsigned_abs());
    if !found.serves(wanted) {
        return Err(Error::Version { path: path.to_owned(), found, wanted });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_those_of_the_flavour() {
        let expected = match Flavour::of_this_program() {
            Flavour::Rtx => 1,
            Flavour::Enterprise => 11,
        };
        assert_eq!(headers().major, expected);
        assert_eq!(TENSORRT.major, expected);
        assert_eq!(ONNX_PARSER.major, expected);
    }

    #[test]
    fn a_version_that_does_not_fit_is_an_error_with_both_versions() {
        let wanted = headers();
        let older = (wanted.major * 10_000).cast_signed();
        let error = check_version(Path::new("lib.so"), older, wanted).expect_err("too old");
        let text = error.to_string();
        assert!(text.contains(&wanted.to_string()), "{text}");
        assert!(error.hint().is_some());
    }
}
