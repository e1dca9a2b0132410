//! Ctrl-C, and two builds of one output at once.

use crate::models::{deep, folder_with_classifier, write};
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
