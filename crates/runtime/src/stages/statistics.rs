//! What became of the stages of an engine: how often they were loaded, given up and run, and how long that took.

use std::time::Duration;

/// What became of one stage, over all sessions of its engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageStatistics {
    /// Its name.
    pub name: String,
    /// Bytes that it holds while it is loaded.
    pub weights_bytes: u64,
    /// Bytes that a run of it needs beside its tensors.
    pub activation_bytes: u64,
    /// How often it was loaded.
    pub loads: u64,
    /// How often a run found it there because it had been loaded while the stage before it ran.
    pub ahead_hits: u64,
    /// How often it was given up for another.
    pub evictions: u64,
    /// How often it ran.
    pub runs: u64,
    /// Time that loading it took in all; it includes loads while another stage ran, which nobody waited for.
    pub loading: Duration,
    /// Time that its runs took in all.
    pub running: Duration,
}
