//! Opening the libraries: what is damaged, or something else, is refused without a crash.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::tensorrt;
use trtforge_libraries::{ONNX_PARSER, TENSORRT, Unusable};
use trtforge_tensorrt::{Error, Flavour, TensorRt};

/// The two libraries of this machine, or a skip.
fn libraries() -> Option<(PathBuf, PathBuf)> {
    tensorrt()?;
    let path = |library| trtforge_libraries::find(library).expect("it was just opened").path;
    Some((path(&TENSORRT), path(&ONNX_PARSER)))
}

/// The first `length` bytes of a file, as a file.
fn truncated(path: &Path, length: u64) -> tempfile::NamedTempFile {
    use std::io::Read;
    let copy = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut source = fs::File::open(path).expect("the library").take(length);
    std::io::copy(&mut source, &mut copy.as_file()).expect("a copy");
    copy
}

#[test]
fn the_library_is_opened_once_and_tells_its_version() {
    let Some(tensorrt) = tensorrt() else { return };
    let again = TensorRt::load().expect("it is loaded");
    assert_eq!(tensorrt.version(), again.version());
    assert_eq!(tensorrt.version().major, TENSORRT.major);
    assert_eq!(tensorrt.flavour(), Flavour::of_this_program());
    assert_eq!(std::env::var("CUDA_MODULE_LOADING").as_deref(), Ok("LAZY"));
}

#[test]
fn a_truncated_library_is_refused() {
    let Some((main, parser)) = libraries() else { return };
    let length = fs::metadata(&main).expect("the library").len();
    for length in [0, 1000, 1 << 20, length / 2] {
        let copy = truncated(&main, length);
        let error = TensorRt::open(copy.path(), &parser).expect_err("a truncated library");
        assert!(
            matches!(error, Error::Unusable(Unusable::Truncated { .. } | Unusable::NotALibrary { .. })),
            "{length}: {error:?}"
        );
        assert!(error.hint().is_some());
    }
    let copy = truncated(&parser, 1 << 20);
    let error = TensorRt::open(&main, copy.path()).expect_err("a truncated parser");
    assert!(matches!(error, Error::Unusable(Unusable::Truncated { .. })), "{error:?}");
}

#[test]
fn another_library_is_refused_by_the_entry_point_it_lacks() {
    let Some((main, parser)) = libraries() else { return };
    let error = TensorRt::open(&parser, &parser).expect_err("the parser is not TensorRT");
    assert!(matches!(error, Error::Symbol { symbol: "getInferLibVersion", .. }), "{error:?}");
    let error = TensorRt::open(&main, &main).expect_err("TensorRT is not the parser");
    assert!(matches!(error, Error::Symbol { symbol: "getNvOnnxParserVersion", .. }), "{error:?}");
}

#[test]
fn a_file_that_is_no_library_or_is_absent_is_refused() {
    let text = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(text.path(), "not a library").expect("a file");
    let error = TensorRt::open(text.path(), text.path()).expect_err("text");
    assert!(matches!(error, Error::Unusable(Unusable::NotALibrary { .. })), "{error:?}");
    let nowhere = Path::new("/nowhere/at/all.so");
    let error = TensorRt::open(nowhere, nowhere).expect_err("no file");
    assert!(matches!(error, Error::Unusable(Unusable::Unreadable { .. })), "{error:?}");
}
