//! Whole, truncated and foreign files, made from a library that every Linux machine has.

use std::fs;
use std::path::PathBuf;

use trtforge_libraries::{Unusable, check};

/// The C library this test runs on.
fn c_library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("the process's mappings");
    let path = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.contains("/libc.so") || path.contains("/libc-"));
    PathBuf::from(path.expect("a test is linked with the C library"))
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("a file");
    file
}

#[test]
fn a_whole_library_passes() {
    check(&c_library()).expect("the C library is whole");
}

#[test]
fn any_truncation_is_seen_before_the_loader_could_stumble() {
    let bytes = fs::read(c_library()).expect("the C library");
    for length in [0, 1, 63, 64, 100, 4096, bytes.len() / 2] {
        let file = file_of(&bytes[..length]);
        let error = check(file.path()).expect_err("a truncated library");
        assert!(matches!(error, Unusable::Truncated { .. } | Unusable::NotALibrary { .. }), "{length}: {error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn other_files_and_other_machines_are_named_as_such() {
    let text = file_of(&[b'x'; 1000]);
    assert!(matches!(check(text.path()), Err(Unusable::NotALibrary { .. })));
    let mut bytes = fs::read(c_library()).expect("the C library");
    bytes[18] = 8;
    let foreign = file_of(&bytes);
    assert!(matches!(check(foreign.path()), Err(Unusable::OtherMachine { machine: 8, .. })));
    let nowhere = text.path().with_extension("nowhere");
    assert!(matches!(check(&nowhere), Err(Unusable::Unreadable { .. })));
}

#[test]
fn absurd_headers_are_refused_without_overflow() {
    let mut bytes = fs::read(c_library()).expect("the C library");
    bytes.truncate(64);
    bytes[32..40].fill(0xff);
    bytes[56..58].fill(0xff);
    let file = file_of(&bytes);
    assert!(matches!(check(file.path()), Err(Unusable::Truncated { .. })));
}
