//! Runs the real binary and looks at what a person or a script sees: stdout, stderr and the exit code.
//!
//! Paths of this machine, times and versions of libraries are filtered out of snapshots; nothing is mocked.

mod models;
mod photographs;
mod program;

mod bench;
mod build;
mod calibrate;
mod compare;
mod completions;
mod detect;
mod doctor;
mod eval;
mod help;
mod inspect;
mod inspect_engine;
mod interrupt;
mod output;
mod plan;
mod quantize;
mod report;
mod run;
mod soak;
mod usage;
mod watch;
mod zoo;
