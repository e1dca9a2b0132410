//! The library itself: missing, damaged, another one. Each case needs a process of its own, since a process loads once.

use std::path::{Path, PathBuf};
use std::process::Command;

use trtforge_onnxruntime::{Error, OnnxRuntime};

use crate::machine::runtime;

const CASE: &str = "TRTFORGE_TEST_LIBRARY_CASE";

#[test]
fn the_library_says_its_version() {
    let Some(runtime) = runtime() else { return };
    assert!(runtime.version().minor >= 28, "{}", runtime.version());
    assert!(runtime.path().is_file());
    assert_eq!(OnnxRuntime::load().unwrap().version(), runtime.version());
}

/// Runs in the child processes of the tests below; does nothing when run as a test of its own.
#[test]
fn child_process() {
    if std::env::var_os(CASE).is_none() {
        return;
    }
    for _ in 0..2 {
        let answer = match OnnxRuntime::load() {
            Ok(runtime) => format!("loaded {}", runtime.version()),
            Err(Error::Missing(_)) => "missing".into(),
            Err(error @ Error::Unusable(_)) => format!("unusable: {error}"),
            Err(error @ Error::WrongLibrary { .. }) => format!("wrong: {error}"),
            Err(error @ Error::TooOld { .. }) => format!("old: {error}"),
            Err(error) => format!("other: {error:?}"),
        };
        println!("answer: {answer}");
    }
}

/// What a process that finds only `folder` says, twice the same.
fn answer_with(folder: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "library::child_process", "--nocapture", "--test-threads=1"])
        .env(CASE, "1")
        .env("TRTFORGE_LIB_DIR", folder)
        .env_remove("LD_LIBRARY_PATH")
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{:?}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    let answers: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("answer: ")).map(|(_, rest)| rest).collect();
    assert_eq!(answers.len(), 2, "{text}");
    assert_eq!(answers[0], answers[1]);
    answers[0].to_owned()
}

fn folder_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libonnxruntime.so.1.32.0");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn a_library_cut_short_is_refused_unopened() {
    let Some(runtime) = runtime() else { return };
    let whole = std::fs::read(runtime.path()).unwrap();
    for part in [0, 50, 1000, whole.len() / 2, whole.len() * 9 / 10] {
        let (folder, _) = folder_with(&whole[..part]);
        let answer = answer_with(folder.path());
        assert!(answer.starts_with("unusable: "), "{part} bytes: {answer}");
    }
}

#[test]
fn another_file_under_the_name_is_refused() {
    if runtime().is_none() {
        return;
    }
    let (folder, _) = folder_with(&[b'x'; 5000]);
    assert!(answer_with(folder.path()).contains("not a shared library"));
    let Some(other) = some_other_library() else { return };
    let (folder, _) = folder_with(&std::fs::read(other).unwrap());
    assert!(answer_with(folder.path()).starts_with("wrong: "));
}

/// A library that every Linux machine with glibc has.
fn some_other_library() -> Option<PathBuf> {
    let folders = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.iter().map(|folder| Path::new(folder).join("libm.so.6")).find(|path| path.is_file())
}

#[test]
fn an_older_version_is_refused_by_its_number() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("old.c");
    let text = r#"
        static const char *version(void) { return "1.16.3"; }
        static const void *api(unsigned number) { return 0; }
        static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
        const void *OrtGetApiBase(void) { return &base; }
    "#;
    std::fs::write(&source, text).unwrap();
    let library = folder.path().join("libonnxruntime.so.1.16.3");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no C compiler");
        return;
    }
    let answer = answer_with(folder.path());
    assert!(answer.starts_with("old: ") && answer.contains("1.16.3") && answer.contains("1.28.0"), "{answer}");
}
