//! Measuring an engine: throughput, latency and memory, as a report that can be kept and compared.
//!
//! Two ways of asking. A **closed loop** ([`closed`]) keeps every slot of a session busy and starts a run as soon as one
//! ends: it tells the most that there is. An **open loop** ([`open`]) sends requests at random times of a given rate,
//! whether or not earlier ones were answered, as independent users do, through a [`crate::Batcher`]. Its latency counts
//! from when a request was due, not from when it could be sent, so that an answer that keeps later requests waiting is
//! counted for each of them.
//!
//! Both run until throughput has settled ([`stability`]) before they measure. Nothing is reported that was not
//! measured: what is unknown is absent. While it measures, nothing here allocates, so that allocations which are counted
//! are those of the session; in an open loop a request's own tensors are among them.
//!
//! ```
//! # use trtforge_runtime::{Call, ElementType, Engine, Function, Result, Signature, TensorInfo};
//! # struct Copy;
//! # impl Function for Copy {
//! #     fn signature(&self) -> Signature {
//! #         let tensor = |name| vec![TensorInfo::batched(name, ElementType::Float32, &[2])];
//! #         Signature { inputs: tensor("x"), outputs: tensor("y"), profiles: Vec::new() }
//! #     }
//! #     fn run(&self, _: Call<'_>) -> Result<()> {
//! #         Ok(())
//! #     }
//! # }
//! use std::time::Duration;
//! use trtforge_runtime::bench::{self, Settings};
//!
//! let engine = Engine::function("copy", Copy)?;
//! let settings = Settings { duration: Duration::from_millis(20), warm_up: Duration::ZERO, ..Settings::default() };
//! let run = bench::closed(&engine, &bench::Closed { batch: Some(4), ..Default::default() }, &settings)?;
//! println!("{:.0} inferences per second", run.throughput.inferences_per_s);
//! # Ok::<(), trtforge_runtime::Error>(())
//! ```
//!
//! # The report
//!
//! [`Report`] is what is written as JSON; each field's documentation is the schema, whose number is [`SCHEMA`]. A field
//! that changes its meaning or goes makes a new number, one that is added does not. Absent values are `null`.

mod closed;
mod comparison;
mod inputs;
mod latency;
mod machine;
mod memory;
mod open;
mod poisson;
mod report;
mod session;
mod settings;
pub mod stability;
mod warm_up;

pub use closed::closed;
pub use comparison::{Comparison, Metric, Pair, Unmatched, compare};
pub use latency::{Latency, Phase, Phases, QUANTILES};
pub use machine::{Clocks, Gpu, Machine, Versions};
pub use memory::{Memory, PeakSince};
pub use open::open;
pub use poisson::Poisson;
pub use report::{EngineInfo, KIND, Loop, Mode, Report, Run, SCHEMA, Throughput, WarmedUp};
pub use session::graph_state;
pub use settings::{Closed, Open, Settings, Stage};

#[cfg(test)]
mod tests {
    //! Reports made up for tests of what is done with them.

    use std::collections::BTreeMap;

    use super::*;

    pub(super) fn report(runs: Vec<Run>) -> Report {
        let versions = Versions { trtforge: "1".to_owned(), ..Versions::default() };
        Report {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            engine: EngineInfo { file: "m.onnx".to_owned(), device: "host".to_owned() },
            machine: Machine { cpu: None, processors: 2, threads: 0, gpu: None, versions },
            quantiles: QUANTILES.to_vec(),
            runs,
            notes: Vec::new(),
        }
    }

    pub(super) fn run(batch: u64, throughput: f64, p99: Option<f64>) -> Run {
        let latency = |p99: f64| Latency {
            samples: 100,
            mean: p99 / 2.0,
            p50: p99 / 2.0,
            p90: p99 / 1.2,
            p95: p99 / 1.1,
            p99,
            p999: None,
            max: p99,
            distribution: QUANTILES.map(|quantile| p99 * quantile).to_vec(),
        };
        Run {
            mode: Mode {
                kind: Loop::Closed,
                batch,
                streams: 1,
                cuda_graph: false,
                transfers: None,
                rate_per_s: None,
                max_delay_us: None,
            },
            shapes: BTreeMap::new(),
            warm_up: WarmedUp { seconds: 1.0, stable: Some(true) },
            seconds: 1.0,
            runs: 100,
            refused: 0,
            throughput: Throughput {
                inferences_per_s: throughput,
                runs_per_s: throughput,
                per_gpu: None,
                mean_batch: 1.0,
            },
            latency_us: p99.map(latency),
            phases_us: Phases::default(),
            memory: Memory {
                weights: 0,
                activation: 0,
                io: 0,
                pinned: 0,
                peak_device: 0,
                peak_rss: None,
                peak_rss_since: PeakSince::Start,
                host_alloc_per_inf: None,
            },
            clocks: None,
        }
    }
}
