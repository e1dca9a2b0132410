//! The application as a user runs it, on the small detector of this repository and its pictures.
//!
//! Without ONNX Runtime a test says so and passes, unless `TRTFORGE_REQUIRE_LIBRARIES=1`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/detector").join(name)
}

/// `edge` on the small detector and a camera.
fn edge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge"));
    command.arg(asset("detector.onnx")).arg(asset("evaluation"));
    command.arg("--classes").arg(asset("classes.txt")).args(arguments);
    command
}

/// What was printed; nothing where ONNX Runtime is missing and may be.
fn printed(output: &Output) -> Option<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("libonnxruntime") && std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none() {
        eprintln!("skipped: {stderr}");
        return None;
    }
    assert!(output.status.success(), "{stderr}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The numbers in the line that begins with `name`.
fn numbers(printed: &str, name: &str) -> Vec<f64> {
    let line = printed.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {printed}"));
    line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
}

/// Frames looked at, of those shown; all others were dropped, and no picture is damaged.
fn looked_at(printed: &str, shown: f64) -> f64 {
    let frames = numbers(printed, "frames");
    assert_eq!((frames[0], frames[3]), (shown, 0.0), "{printed}");
    assert_eq!(frames[1] + frames[2], shown, "{printed}");
    frames[1]
}

fn assert_within_budget(printed: &str) {
    let memory = numbers(printed, "memory");
    assert!(memory[0] > 1e6 && memory[0] <= memory[1], "{printed}");
}

#[test]
fn objects_are_found_within_the_budget() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, recording) = (folder.path().join("out"), folder.path().join("run.csv"));
    let written = ["--out", out.to_str().expect("text"), "--monitor", recording.to_str().expect("text")];
    let output = edge(&["--frames", "128", "--fps", "20", "--budget", "32MiB"]).args(written).output();
    let Some(printed) = printed(&output.expect("it starts")) else { return };
    let frames = looked_at(&printed, 128.0);
    assert!(frames >= 16.0, "{printed}");
    assert!(numbers(&printed, "objects")[0] >= 2.0 * frames, "{printed}");
    assert_within_budget(&printed);
    let latency = numbers(&printed, "latency");
    assert!(0.0 < latency[0] && latency[0] <= latency[1], "{printed}");
    assert_eq!(std::fs::read_dir(&out).expect("pictures").count() as f64, frames);
    let recorded = std::fs::read_to_string(&recording).expect("a recording");
    assert!(recorded.lines().count() > 10, "{recorded}");
}

#[test]
fn a_camera_that_is_too_fast_is_not_waited_for() {
    let output = edge(&["--frames", "2000", "--fps", "2000", "--batch", "2"]).output().expect("it starts");
    let Some(printed) = printed(&output) else { return };
    let frames = looked_at(&printed, 2000.0);
    assert!((1.0..1000.0).contains(&frames), "{printed}");
    assert_within_budget(&printed);
}

#[test]
fn the_batch_follows_the_budget_and_what_does_not_fit_is_refused() {
    let at_most =
        |budget: &str| edge(&["--frames", "1", "--batch", "16", "--budget", budget]).output().expect("it starts");
    let Some(large) = printed(&at_most("64MiB")) else { return };
    let small = printed(&at_most("8MiB")).expect("it runs");
    let held = |printed: &str| numbers(printed, "memory")[0];
    assert!(held(&small) < held(&large), "{small}{large}");
    assert_within_budget(&small);
    let refused = at_most("4MiB");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("budget of 4 MiB") && error.contains("weights by detector.onnx"), "{error}");
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    let mut child = edge(&["--fps", "10"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    // The plan ends with this line; what follows is printed at the end.
    let mut begun = String::new();
    while !begun.lines().last().is_some_and(|line| line.starts_with("device")) {
        if stdout.read_line(&mut begun).expect("text") == 0 {
            let rest = child.wait_with_output().expect("it ends");
            assert!(printed(&rest).is_none(), "{begun}");
            return;
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).expect("text");
    assert!(child.wait().expect("it ends").success(), "{rest}");
    let shown = numbers(&rest, "frames")[0];
    assert!(shown >= 1.0, "{rest}");
    looked_at(&rest, shown);
}
