//! How long one run takes when nothing else is going on.

use crate::detector::Network;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

const WARM_UP: usize = 3;
const MOST_RUNS: usize = 50;
const MOST_TIME: Duration = Duration::from_secs(2);

/// Time of a run from its inputs to its outputs, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// The middle one.
    pub p50_ms: f64,
    /// The one that nine of ten are within.
    pub p90_ms: f64,
    /// Runs measured.
    pub runs: usize,
    /// Images in a run.
    pub batch: usize,
}

/// Runs the network alone, on what its inputs happen to hold, on all processors or as many threads as were asked for.
///
/// # Errors
/// What goes wrong in a run.
pub fn measure(network: &Network) -> Result<Latency> {
    let mut session = network.session(1)?;
    session.set_shape(&network.inputs.image, &network.inputs.shape)?;
    for _ in 0..WARM_UP {
        session.run()?;
    }
    let start = Instant::now();
    let mut times_ms = Vec::new();
    while times_ms.len() < MOST_RUNS && (times_ms.is_empty() || start.elapsed() < MOST_TIME) {
        let before = Instant::now();
        session.run()?;
        times_ms.push(before.elapsed().as_secs_f64() * 1e3);
    }
    times_ms.sort_by(f64::total_cmp);
    let at = |share: f64| times_ms[((times_ms.len() - 1) as f64 * share).round() as usize];
    Ok(Latency { p50_ms: at(0.5), p90_ms: at(0.9), runs: times_ms.len(), batch: network.inputs.batch() })
}
