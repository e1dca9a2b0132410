//! What processes hold on NVIDIA GPUs, as the driver's management library counts it.

use nvml_wrapper::Nvml;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

/// The name under which the driver installs it; the one without a version belongs to development packages.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The management library, loaded.
pub(super) struct GpuProcesses {
    /// A table of some hundred functions.
    library: Box<Nvml>,
}

impl GpuProcesses {
    /// Loads it; nothing where there is no driver.
    pub(super) fn load() -> Option<Self> {
        let library = Nvml::builder().lib_path(LIBRARY.as_ref()).init().ok()?;
        Some(Self { library: Box::new(library) })
    }

    /// Bytes that a process holds on all GPUs; nothing where the driver does not tell.
    pub(super) fn held_bytes(&self, pid: u32) -> Option<u64> {
        let gpus = 0..self.library.device_count().ok()?;
        let held = gpus.filter_map(|gpu| {
            let gpu = self.library.device_by_index(gpu).ok()?;
            let (compute, graphics) = (gpu.running_compute_processes().ok()?, gpu.running_graphics_processes().ok()?);
            // A process that does both is listed twice with the same figure.
            compute.iter().chain(&graphics).filter(|process| process.pid == pid).filter_map(used_bytes).max()
        });
        held.reduce(|sum, bytes| sum + bytes)
    }
}

fn used_bytes(process: &ProcessInfo) -> Option<u64> {
    match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    }
}
