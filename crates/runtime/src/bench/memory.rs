//! Memory while an engine was measured: by class from the ledger, the process's peak from the kernel.

use serde::{Deserialize, Serialize};

use crate::device::Class;
use crate::ledger::Ledger;

/// Memory while an engine was measured, in bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Weights of the engine.
    pub weights: u64,
    /// Values inside the network, of all streams. Of an ONNX model these lie in memory of ONNX Runtime and count zero.
    pub activation: u64,
    /// Inputs and outputs on the device, of all streams.
    pub io: u64,
    /// Locked host memory beside a GPU.
    pub pinned: u64,
    /// The most that the ledger held on the device at one time during the measurement.
    pub peak_device: u64,
    /// The most of the process in main memory, libraries included; absent where the system does not tell.
    pub peak_rss: Option<u64>,
    /// Since when [`Self::peak_rss`] counts.
    pub peak_rss_since: PeakSince,
    /// Host allocations per inference while it was measured; absent where nobody counts. Libraries in other languages
    /// are not counted. An open loop's include the request's own tensors.
    pub host_alloc_per_inf: Option<f64>,
}

/// Since when a peak counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeakSince {
    /// The beginning of this measurement.
    Run,
    /// The start of the process: the system counts peaks anew for nobody.
    Start,
}

/// Memory of a measurement that began.
pub(super) struct Watch {
    ledger: Ledger,
    since: PeakSince,
}

impl Watch {
    /// Counts peaks anew, as far as the system lets it.
    pub(super) fn start(ledger: &Ledger) -> Self {
        ledger.restart_peaks();
        // What proc(5) says of clear_refs: 5 makes the peak what is held now.
        let restarted = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { ledger: ledger.clone(), since: if restarted { PeakSince::Run } else { PeakSince::Start } }
    }

    /// What is held now, and the peaks since the start.
    pub(super) fn memory(&self, host_alloc_per_inf: Option<f64>) -> Memory {
        let held = self.ledger.held();
        Memory {
            weights: held[Class::Weights],
            activation: held[Class::Activation],
            io: held[Class::Io],
            pinned: held.pinned_bytes(),
            peak_device: self.ledger.peak_device_bytes(),
            peak_rss: std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(peak_rss),
            peak_rss_since: self.since,
            host_alloc_per_inf,
        }
    }
}

/// The peak in what the kernel says of a process, in bytes.
fn peak_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::peak_rss;

    #[test]
    fn the_peak_is_read_from_the_kernels_words() {
        assert_eq!(peak_rss("Name:\tx\nVmPeak:\t   9 kB\nVmHWM:\t   12 kB\n"), Some(12 * 1024));
        assert_eq!(peak_rss("VmPeak:\t   9 kB\n"), None);
        assert_eq!(peak_rss("VmHWM:\tmuch\n"), None);
    }
}
