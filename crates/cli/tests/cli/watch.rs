//! `trtforge watch` on real processes, and `--monitor` of the commands that it watches.

use crate::models::{deep, folder_with_classifier, write};
use crate::program::{Run, command, have_libraries, libraries, run_in};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    fn sleep() -> Self {
        Self(Command::new("sleep").arg("60").spawn().expect("sleep runs"))
    }

    /// A soak of seconds that shows itself in `place`.
    fn soak(place: &Path, folder: &Path) -> Self {
        write(folder, "deep.onnx", deep());
        let mut command = command(&["soak", "deep.onnx", "--budget", "1GiB", "-q", "--progress", "none"]);
        command.current_dir(folder).env("XDG_RUNTIME_DIR", place);
        command.env("TRTFORGE_LIB_DIR", libraries().expect("the libraries"));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts"))
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

fn watch(place: &Path, more: &[&str]) -> Run {
    let mut command = command(&[&["watch"], more].concat());
    command.env("XDG_RUNTIME_DIR", place).current_dir(place).output().expect("the binary starts").into()
}

fn lines(run: &Run) -> Vec<Value> {
    run.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn place() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Waits until this many processes show themselves.
fn wait_for_shown(place: &Path, count: usize) {
    for _ in 0..600 {
        let shown = std::fs::read_dir(place.join("trtforge")).map_or(0, Iterator::count);
        if shown == count {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("there are not {count}");
}

#[test]
fn any_process_is_watched_for_as_long_as_asked() {
    let (place, sleep) = (place(), Running::sleep());
    let pid = sleep.pid();
    let run =
        watch(place.path(), &["--pid", &pid, "--duration", "150ms", "--interval", "20ms", "--csv", "a.csv"]).success();
    let lines = lines(&run);
    let (end, samples) = lines.split_last().expect("lines");
    assert!(samples.len() >= 2, "{run}");
    for sample in samples {
        assert_eq!((&sample["kind"], sample["pid"].to_string()), (&"sample".into(), pid.clone()));
        assert!(sample["resident_bytes"].as_u64() > Some(0) && sample["threads"] == 1, "{sample}");
        assert!(sample["open_files"].as_u64() > Some(0) && sample.get("weights_bytes").is_none(), "{sample}");
    }
    assert_eq!((&end["kind"], &end["reason"], &end["title"]), (&"end".into(), &"duration".into(), &"sleep".into()));
    assert_eq!(end["samples"], samples.len());
    let csv = std::fs::read_to_string(place.path().join("a.csv")).expect("the recording");
    assert_eq!(csv.lines().count(), samples.len() + 1, "{csv}");
    assert!(csv.starts_with("from_s,to_s,samples,resident_bytes,"), "{csv}");
}

#[test]
fn a_process_that_ends_ends_the_watch() {
    let (place, sleep) = (place(), Running::sleep());
    let mut command = command(&["watch", "--pid", &sleep.pid(), "--json", "-q"]);
    command.env("XDG_RUNTIME_DIR", place.path()).stdout(Stdio::piped());
    let mut watch = command.spawn().expect("the binary starts");
    let mut stdout = BufReader::new(watch.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("text");
    assert!(line.contains("resident_bytes"), "{line}");
    drop(sleep);
    let rest: Vec<String> = stdout.lines().map_while(Result::ok).collect();
    assert_eq!(watch.wait().expect("it ends").code(), Some(0));
    assert!(rest.last().is_some_and(|line| line.contains(r#""reason":"ended""#)), "{rest:?}");
}

#[test]
fn what_cannot_be_watched() {
    let place = place();
    let told = watch(place.path(), &["--pid", "5000000000"]).failure(2);
    assert!(told.contains("--pid"), "{told}");
    insta::assert_snapshot!("no_such_process", watch(place.path(), &["--pid", "4294967295"]).failure(4));
    insta::assert_snapshot!("nothing_runs", watch(place.path(), &[]).failure(3));
    let sleep = Running::sleep();
    let told = watch(place.path(), &["--pid", &sleep.pid(), "--svg", "no/such/folder/a.svg"]).failure(2);
    assert!(told.contains("there is no folder no/such/folder"), "{told}");
    let told = watch(place.path(), &["--pid", &sleep.pid(), "--interval", "0s"]).failure(2);
    assert!(told.contains("1ms"), "{told}");
}

#[test]
fn a_full_disk_is_told_at_the_end_with_all_samples_shown() {
    let (place, sleep) = (place(), Running::sleep());
    let run = watch(place.path(), &["--pid", &sleep.pid(), "--duration", "50ms", "--csv", "/dev/full"]);
    assert!(run.stdout.contains(r#""kind":"end""#), "{run}");
    let told = run.failure(3);
    assert!(told.contains("cannot write the recording to /dev/full"), "{told}");
}

#[test]
fn a_process_of_trtforge_shows_its_ledger_and_counts_inferences() {
    if !have_libraries() {
        return;
    }
    let (place, folder) = (place(), tempfile::tempdir().expect("a temporary folder"));
    let soak = Running::soak(place.path(), folder.path());
    wait_for_shown(place.path(), 1);
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &Value| line["inferences"].as_u64() > Some(0)) {
        let run = watch(place.path(), &["--duration", "400ms", "--svg", "watched.svg", "--json"]).success();
        seen = lines(&run);
    }
    let sample = seen.iter().rfind(|line| line["kind"] == "sample").expect("a sample");
    assert_eq!(sample["pid"].to_string(), soak.pid());
    assert!(sample["weights_bytes"].as_u64() > Some(0) && sample["batch"] == 1, "{sample}");
    assert_eq!(sample["device_budget_bytes"], 1u64 << 30);
    assert_eq!(seen.last().expect("an end")["title"], "soak deep.onnx");
    let picture = std::fs::read_to_string(place.path().join("watched.svg")).expect("the picture");
    assert!(picture.starts_with("<svg") && picture.contains("ledger: weights") && picture.contains("budget"));

    let second = Running::soak(place.path(), folder.path());
    wait_for_shown(place.path(), 2);
    let list = watch(place.path(), &["--json"]).success();
    let mut listed: Vec<String> = lines(&list).iter().map(|line| line["pid"].to_string()).collect();
    let mut expected = vec![soak.pid(), second.pid()];
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected, "{list}");
    drop((soak, second));
    let told = watch(place.path(), &[]).failure(3);
    assert!(told.contains("no process of trtforge"), "killed ones are not taken for running: {told}");
    wait_for_shown(place.path(), 0);
}

#[test]
fn runs_are_recorded_in_every_form() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let files = ["--monitor", "a.svg", "--monitor", "a.csv", "--monitor", "a.json"];
    let commands: [&[&str]; 3] = [
        &["bench", "model.onnx", "--duration", "300ms", "--warmup", "30ms", "--rate", "100", "-q"],
        &["soak", "model.onnx", "--iterations", "2000", "--recreate", "100", "-q"],
        &["run", "model.onnx", "-q"],
    ];
    for command in commands {
        let shown = run_in(folder.path(), &[command, &files].concat()).success();
        assert!(!shown.stdout.is_empty(), "{shown}");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a recording");
        let (picture, table) = (read("a.svg"), read("a.csv"));
        let recording: Value = serde_json::from_str(&read("a.json")).expect("JSON");
        assert!(picture.contains("process, resident") && picture.contains("inferences per second"), "{command:?}");
        assert_eq!((&recording["schema"], &recording["kind"]), (&1.into(), &"trtforge recording".into()));
        assert_eq!(recording["title"], format!("{} model.onnx", command[0]));
        assert_eq!(recording["samples"], table.lines().count() - 1, "{table}");
        let done = recording["series"]["inferences"]["last"].as_array().expect("a series").last().expect("points");
        assert!(done.as_u64() > Some(0), "{command:?}: {recording}");
        if command[0] == "bench" {
            assert!(recording["marks"][0]["label"].as_str().is_some_and(|it| it.contains("warm-up")), "{recording}");
        }
        for name in ["a.svg", "a.csv", "a.json"] {
            std::fs::remove_file(folder.path().join(name)).expect("it is there");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "{command:?}");
    }
}

#[test]
fn a_recording_that_cannot_be_written() {
    if !have_libraries() {
        return;
    }
    let folder = folder_with_classifier();
    let full = folder.path().join("full.csv");
    std::os::unix::fs::symlink("/dev/full", &full).expect("a link");
    let bench = ["bench", "model.onnx", "--duration", "30ms", "--warmup", "30ms", "-q", "--monitor"];
    let run = run_in(folder.path(), &[&bench[..], &["full.csv"]].concat());
    assert!(run.stdout.contains("INF/S"), "the figures are there: {run}");
    assert!(run.failure(3).contains("cannot write the recording to full.csv"));
    for (wrong, what) in [("no/such/a.csv", "no/such"), ("a.png", ".svg, .csv or .json"), ("model.onnx", ".svg")] {
        let run = run_in(folder.path(), &[&bench[..], &[wrong]].concat());
        assert_eq!(run.stdout, "", "nothing was measured");
        let told = run.failure(2);
        assert!(told.contains(what), "{told}");
    }
    let told = run_in(folder.path(), &[&bench[..], &["a.csv", "--monitor", "a.csv"]].concat()).failure(2);
    assert!(told.contains("named twice"), "{told}");
}
