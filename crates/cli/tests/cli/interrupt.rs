//! Ctrl-C, and two builds of one output at once.

use crate::models::{colour_detector, deep, folder_with_classifier, write};
use crate::photographs::{COLOURS, write_photograph};
use crate::program::{Run, command, have_libraries, libraries, run_in};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A build that takes seconds, started in `folder`, at the moment at which it has said that `step` begins.
fn build_at_step(folder: &Path, step: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    write(folder, "deep.onnx", deep());
    let mut command = command(&["build", "deep.onnx", "-o", "out.engine"]);
    command.env("TRTFORGE_LIB_DIR", libraries().expect("the libraries")).current_dir(folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while !line.trim_end().ends_with(step) {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).expect("stderr is text"), 0, "the build ended before {step}");
    }
    (child, stderr)
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn an_interrupted_build_ends_soon_and_leaves_nothing() {
    if !have_libraries() {
        return;
    }
    for step in ["verify", "compile"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut child, mut stderr) = build_at_step(folder.path(), step);
        interrupt(&child);
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut rest).expect("stderr is text");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{step}: {rest}");
        assert!(rest.contains("error: interrupted; nothing was written"), "{step}: {rest}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(left.len(), 1, "{step}: {left:?}");
    }
}

#[test]
fn an_interrupted_detection_says_how_far_it_came() {
    if !have_libraries() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path(), "colours.onnx", colour_detector());
    write_photograph(&folder.path().join("p.png"), 400, 300, COLOURS[0]);
    std::fs::write(folder.path().join("list.txt"), "p.png\n".repeat(5000)).expect("a list");
    let mut detect = command(&["detect", "colours.onnx", "@list.txt", "--out", "drawn", "--json", "boxes.json"]);
    detect.env("TRTFORGE_LIB_DIR", libraries().expect("the libraries")).current_dir(folder.path());
    let mut child = detect.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    while !folder.path().join("drawn/p.png").exists() {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before it drew");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    interrupt(&child);
    let ended = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{told}");
    assert!(told.contains("error: interrupted after ") && told.contains(" of 5000 images"), "{told}");
    let left = [folder.path().to_owned(), folder.path().join("drawn")].map(|folder| {
        let names = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with('.')).count()
    });
    assert!(left == [0, 0] && !folder.path().join("boxes.json").exists(), "{left:?}");
}

#[test]
fn a_second_build_of_the_same_output_is_refused() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let (mut child, _stderr) = build_at_step(folder.path(), "verify");
    let second: Run = run_in(folder.path(), &["build", "model.onnx", "-q", "-o", "out.engine"]);
    interrupt(&child);
    child.wait().expect("it ends");
    insta::assert_snapshot!(second.failure(2));
}
