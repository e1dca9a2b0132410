//! The order of the search, the choice within a folder, and the error, on folders made for it.

use std::fs;
use std::path::{Path, PathBuf};

use trtforge_libraries::{ONNX_RUNTIME, Search, Source};

fn put(folder: &Path, name: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, b"library").expect("a file");
    path
}

struct Folders {
    root: tempfile::TempDir,
    search: Search,
}

fn folders() -> Folders {
    let root = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        path
    };
    let search = Search {
        environment_directory: Some(at("environment")),
        working_directory: Some(at("project/deep/below")),
        executable_directory: Some(at("install/bin")),
        system_directories: vec![at("system")],
    };
    Folders { root, search }
}

#[test]
fn places_win_in_the_documented_order() {
    let Folders { root, search } = folders();
    let root = root.path();
    let name = "libonnxruntime.so.1.32.0";
    // From the last place to the first: each new file must win over all before it.
    for (folder, source) in [
        ("system", Source::System),
        ("install/.deps/lib", Source::BesideExecutable),
        ("install/bin/.deps/lib", Source::BesideExecutable),
        ("install/bin", Source::BesideExecutable),
        ("project/.deps/lib", Source::Deps),
        ("project/deep/below/.deps/lib", Source::Deps),
        ("environment", Source::EnvDir),
    ] {
        let expected = put(&root.join(folder), name);
        let found = search.find(&ONNX_RUNTIME).expect("the library");
        assert_eq!((found.path, found.source), (expected, source));
    }
}

#[test]
fn the_newest_version_of_a_folder_wins_over_order_and_plain_name() {
    let Folders { root, search } = folders();
    let folder = root.path().join("environment");
    for name in [
        "libonnxruntime.so",
        "libonnxruntime.so.1.9.0",
        "libonnxruntime.so.1.32.0",
        "libonnxruntime.so.1.32.0.part",
        "libonnxruntime.so.2.0.0",
    ] {
        put(&folder, name);
    }
    let found = search.find(&ONNX_RUNTIME).expect("the library");
    assert_eq!(found.path, folder.join("libonnxruntime.so.1.32.0"));
    assert_eq!(found.remark(), None);
}

#[test]
fn an_environment_folder_without_the_library_is_remarked_on() {
    let Folders { root, search } = folders();
    put(&root.path().join("system"), "libonnxruntime.so");
    let found = search.find(&ONNX_RUNTIME).expect("the library");
    assert_eq!(found.source, Source::System);
    assert_eq!(found.passed_over, search.environment_directory);
    assert!(found.remark().expect("a remark").contains("TRTFORGE_LIB_DIR"));
}

#[test]
fn a_folder_or_a_dangling_link_by_the_name_is_not_the_library() {
    let Folders { root, search } = folders();
    let folder = root.path().join("environment");
    fs::create_dir_all(folder.join("libonnxruntime.so")).expect("a folder");
    std::os::unix::fs::symlink("nowhere", folder.join("libonnxruntime.so.1")).expect("a link");
    assert!(search.find(&ONNX_RUNTIME).is_err());
}

#[test]
fn the_error_names_the_file_every_place_and_the_remedy() {
    let Folders { root, search } = folders();
    put(&root.path().join("environment"), "libonnxruntime.so.2");
    let missing = search.find(&ONNX_RUNTIME).expect_err("nothing suitable");
    let text = missing.to_string();
    for part in [
        "libonnxruntime.so.1 (ONNX Runtime)",
        "environment (TRTFORGE_LIB_DIR) which holds only libonnxruntime.so.2",
        "project/deep/below/.deps/lib",
        "install/bin/.deps/lib",
        "the system's 1 library folders",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(missing.hint().expect("a hint").contains("make setup"));
}

#[test]
fn nothing_to_search_is_an_error_too() {
    assert!(Search::default().find(&ONNX_RUNTIME).is_err());
}
