//! The report, as it is written.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::latency::{Latency, Phases};
use super::machine::{Clocks, Machine};
use super::memory::Memory;

/// Number of the schema that [`Report`] is.
pub const SCHEMA: u32 = 1;

/// What [`Report::kind`] says.
pub const KIND: &str = "trtforge bench";

/// Everything that was measured of one engine on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// [`KIND`]: what this file is.
    pub kind: String,
    /// What was measured.
    pub engine: EngineInfo,
    /// Where.
    pub machine: Machine,
    /// [`super::QUANTILES`], that [`Latency::distribution`] is given at.
    pub quantiles: Vec<f64>,
    /// The measurements, in the order in which they were made.
    pub runs: Vec<Run>,
    /// What a reader should know: what could not be done as asked, figures that rest on little.
    pub notes: Vec<String>,
}

/// The engine or model that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Its file, as it was given.
    pub file: String,
    /// Name of the device that it ran on.
    pub device: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// How it was asked.
    pub mode: Mode,
    /// Shape of each input in a full batch, such as `4x3x640x640`.
    pub shapes: BTreeMap<String, String>,
    /// What went before.
    pub warm_up: WarmedUp,
    /// How long it was measured, in seconds: up to the last answer, and in an open loop at least the time in which requests came.
    pub seconds: f64,
    /// Batches that were run.
    pub runs: u64,
    /// Requests of an open loop that found the queue full and were not answered: the engine is too slow for the rate,
    /// and the latencies are those of the others. Zero in a closed loop.
    pub refused: u64,
    /// How much was done.
    pub throughput: Throughput,
    /// Time from asking to the answer, in microseconds: in a closed loop of each run, from before it is handed over until
    /// its outputs can be read; in an open loop of each request, from when it was due. Absent where all were refused.
    pub latency_us: Option<Latency>,
    /// Where the time of a run goes, in microseconds.
    pub phases_us: Phases,
    /// Bytes, by class, and allocations.
    pub memory: Memory,
    /// Clocks of the GPU right after the measurement.
    pub clocks: Option<Clocks>,
}

/// How a measurement was made. Two of equal mode can be compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mode {
    /// Closed or open loop.
    #[serde(rename = "loop")]
    pub kind: Loop,
    /// Inferences per run; in an open loop the most that are run together.
    pub batch: u64,
    /// Runs under way at a time.
    pub streams: usize,
    /// Whether runs were replayed from a CUDA graph: not whether that was asked for.
    pub cuda_graph: bool,
    /// Whether inputs and outputs were copied between host and device; absent where they are read in place.
    pub transfers: Option<bool>,
    /// Requests per second that were sent, in an open loop.
    pub rate_per_s: Option<f64>,
    /// Longest that a request waited for others, in microseconds, in an open loop.
    pub max_delay_us: Option<f64>,
}

/// Who waits for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loop {
    /// The next run begins when one has ended.
    Closed,
    /// Requests come when they come.
    Open,
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let streams = if self.streams == 1 { "stream" } else { "streams" };
        write!(out, "batch {}, {} {streams}", self.batch, self.streams)?;
        if self.cuda_graph {
            out.write_str(", CUDA graph")?;
        }
        if self.transfers == Some(false) {
            out.write_str(", without transfers")?;
        }
        self.rate_per_s.map_or(Ok(()), |rate| write!(out, ", {rate} requests/s"))
    }
}

/// What went before a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmedUp {
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether throughput settled within the time allowed; absent without a warm-up.
    pub stable: Option<bool>,
}

/// How much was done. An inference is one entry of a batch: one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Inferences per second.
    pub inferences_per_s: f64,
    /// Runs per second; each does a batch.
    pub runs_per_s: f64,
    /// Inferences per second and GPU; absent on the host.
    pub per_gpu: Option<f64>,
    /// Mean number of inferences in a run: below the batch where an open loop found fewer requests.
    pub mean_batch: f64,
}

impl Throughput {
    pub(super) fn new(inferences: u64, runs: u64, seconds: f64, on_gpu: bool) -> Self {
        let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let inferences_per_s = per_second(inferences);
        Self {
            inferences_per_s,
            runs_per_s: per_second(runs),
            per_gpu: on_gpu.then_some(inferences_per_s),
            mean_batch: if runs > 0 { inferences as f64 / runs as f64 } else { 0.0 },
        }
    }
}
