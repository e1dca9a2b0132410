//! `trtforge doctor` with and without the libraries.

use crate::program::{have_libraries, run_alone, run_in, run_without_libraries};

#[test]
fn without_libraries_it_says_what_to_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = run_without_libraries(folder.path(), &["doctor"]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stdout.contains("TensorRT") && run.stdout.contains("missing"), "{run}");
    insta::assert_snapshot!(run.stderr);
}

#[test]
fn an_empty_library_folder_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    let run = run_alone(folder.path(), &["doctor"], &[("TRTFORGE_LIB_DIR", &empty)]);
    assert_eq!(run.code, 3, "{run}");
    assert!(run.stdout.contains(&format!("{} (TRTFORGE_LIB_DIR)", empty.display())), "{run}");
}

#[test]
fn damaged_libraries_are_found_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let libraries = folder.path().join(".deps/lib");
    std::fs::create_dir_all(&libraries).expect("a folder");
    for library in [trtforge_libraries::TENSORRT, trtforge_libraries::ONNX_PARSER, trtforge_libraries::ONNX_RUNTIME] {
        std::fs::write(libraries.join(library.versioned_name()), b"\x7fELF, but no more").expect("a file");
    }
    let run = run_without_libraries(folder.path(), &["doctor", "--json"]);
    assert_eq!(run.code, 3, "{run}");
    let report: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    for library in report["libraries"].as_array().expect("a list") {
        assert!(library["problem"].is_string(), "{library}");
        assert!(library["version"].is_null(), "{library}");
    }
    assert_eq!(report["works"]["build"]["works"], false);
}

#[test]
fn with_libraries_engines_can_be_built() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = run_in(folder.path(), &["doctor", "--json"]).json();
    assert_eq!(report["works"]["build"]["works"], true);
    for library in report["libraries"].as_array().expect("a list") {
        assert!(library["problem"].is_null(), "{library}");
    }
    let gpus = report["driver"]["gpus"].as_array().expect("a list");
    assert_eq!(report["works"]["run_engines"]["works"], !gpus.is_empty());
}

/// ONNX Runtime would leave a device identifier in the home folder.
#[test]
fn nothing_is_left_in_the_home_folder() {
    let Some(libraries) = crate::program::libraries() else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut doctor = crate::program::command(&["doctor"]);
    doctor.env("TRTFORGE_LIB_DIR", libraries).env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
    doctor.env_remove("ORT_DISABLE_TELEMETRY");
    crate::program::Run::from(doctor.output().expect("the binary starts")).success();
    assert_eq!(std::fs::read_dir(home.path()).expect("a folder").count(), 0);
}
