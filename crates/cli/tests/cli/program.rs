//! Runs the binary with a controlled environment.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

/// One run of the binary.
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl std::fmt::Display for Run {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("the program must not die of a signal"),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }
}

impl Run {
    /// The run, if it succeeded.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self}");
        self
    }

    /// What it wrote to stderr, if it failed with this code.
    pub fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr
    }

    /// Its stdout as JSON.
    pub fn json(self) -> serde_json::Value {
        let run = self.success();
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
    }
}

/// The binary, with nothing of the caller's terminal settings in its environment.
pub fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trtforge"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("COLUMNS", "100");
    command
}

/// Runs the binary to its end.
pub fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Run {
    command(arguments).output().expect("the binary starts").into()
}

/// Runs the binary in a folder, so that paths in its output are short and the same everywhere.
pub fn run_in(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = command(arguments);
    if let Some(libraries) = libraries() {
        command.env("TRTFORGE_LIB_DIR", libraries);
    }
    command.current_dir(folder).output().expect("the binary starts").into()
}

/// Runs the binary in a folder on a machine that has none of the shared libraries.
pub fn run_without_libraries(folder: &Path, arguments: &[&str]) -> Run {
    run_alone(folder, arguments, &[])
}

/// Runs a copy of the binary that lies in `folder`, far from any libraries, with nothing but `variables` set.
pub fn run_alone(folder: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Run {
    let program = folder.join("trtforge");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_trtforge"), &program).expect("the binary can be copied");
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("COLUMNS", "100").envs(variables.iter().copied()).current_dir(folder);
    loop {
        match command.output() {
            // Another test that started a program at this moment holds the copy open for writing until it execs.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            output => return output.expect("the binary starts").into(),
        }
    }
}

/// The folder with the real libraries, looked for where the program itself would.
pub fn libraries() -> Option<std::path::PathBuf> {
    let found = trtforge_libraries::find(&trtforge_libraries::TENSORRT).ok()?;
    found.path.parent().map(Path::to_owned)
}

/// Whether the real libraries are here; says that a test is skipped if not, and fails where they are required.
pub fn have_libraries() -> bool {
    let found = libraries().is_some() && trtforge_libraries::find(&trtforge_libraries::ONNX_RUNTIME).is_ok();
    assert!(found || std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none(), "the shared libraries are missing");
    if !found {
        eprintln!("skipped: the shared libraries are missing (make setup)");
    }
    found
}
