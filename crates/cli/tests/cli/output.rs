//! Streams: what goes where, and what happens when nobody reads.

use crate::program::{command, run};
use std::process::Stdio;

#[test]
fn a_closed_stdout_ends_quietly() {
    let mut child = command(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let answer: crate::program::Run = child.wait_with_output().expect("the binary ends").into();
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
}

#[test]
fn a_full_disk_behind_stdout_is_reported() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let answer = command(&["completions", "bash"]).stdout(full).output().expect("the binary starts");
    let answer = crate::program::Run::from(answer);
    assert_eq!(answer.code, 3, "{answer}");
    assert!(answer.stderr.starts_with("error: cannot write to stdout\n  caused by: No space left"), "{answer}");
}

#[test]
fn errors_are_not_coloured_away_from_a_terminal() {
    assert!(!run(&["calibrate"]).stderr.contains('\u{1b}'));
}
