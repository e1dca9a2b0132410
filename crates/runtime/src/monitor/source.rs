//! What a monitor looks at: this process with its ledger and device, or any process.

use std::io;

use super::{Quantity, Values};
use crate::device::{Device, MemoryInfo};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::ledger::Ledger;
use crate::process::{ProcessReader, ProcessSample};

/// Something that a monitor looks at.
pub trait Source: Send + 'static {
    /// Notes what is there now. It is called on the monitor's thread, one call after another.
    ///
    /// # Errors
    /// What could not be seen; what was noted before counts all the same.
    fn look(&mut self, values: &mut Values) -> Result<()>;
}

/// This process: a ledger with its budget, the device's memory and what the process holds. Looking allocates nothing, and
/// keeps neither engines nor sessions alive.
pub struct OwnSource {
    ledger: Ledger,
    memory: Box<dyn Fn() -> Result<MemoryInfo> + Send>,
    process: ProcessReader,
}

impl OwnSource {
    /// What an engine holds and runs on.
    ///
    /// # Errors
    /// [`Error::Io`] where the system shows no processes.
    pub fn engine(engine: &Engine) -> Result<Self> {
        Self::with(engine.ledger().clone(), engine.kind().memory())
    }

    /// A ledger and its device.
    ///
    /// # Errors
    /// [`Error::Io`] where the system shows no processes.
    pub fn device(ledger: Ledger, device: impl Device) -> Result<Self> {
        Self::with(ledger, Box::new(move || device.memory_info()))
    }

    fn with(ledger: Ledger, memory: Box<dyn Fn() -> Result<MemoryInfo> + Send>) -> Result<Self> {
        Ok(Self { ledger, memory, process: ProcessReader::open(None).map_err(unread)? })
    }
}

impl Source for OwnSource {
    fn look(&mut self, values: &mut Values) -> Result<()> {
        values.set_ledger(&self.ledger.held());
        let budget = self.ledger.budget();
        values.set(Quantity::DeviceBudget, budget.device_bytes);
        values.set(Quantity::PinnedBudget, budget.pinned_bytes);
        set_process(values, &self.process.read().map_err(unread)?);
        values.set_memory((self.memory)()?);
        Ok(())
    }
}

/// Any process of this machine, as far as the system shows it to us.
pub struct ProcessSource {
    pid: u32,
    process: ProcessReader,
    #[cfg(feature = "cuda")]
    gpus: Option<super::gpu_processes::GpuProcesses>,
}

impl ProcessSource {
    /// The process of that number.
    ///
    /// # Errors
    /// [`Error::NoProcess`], and [`Error::Io`] for what the system says.
    pub fn new(pid: u32) -> Result<Self> {
        let process = ProcessReader::open(Some(pid)).map_err(|error| gone_or_unread(pid, error))?;
        Ok(Self {
            pid,
            process,
            #[cfg(feature = "cuda")]
            gpus: super::gpu_processes::GpuProcesses::load(),
        })
    }

    /// What of it cannot be seen, for a person.
    #[must_use]
    pub fn unseen(&self) -> Vec<&'static str> {
        let files = (!self.process.sees_files()).then_some("open files: the process is somebody else's");
        #[cfg(feature = "cuda")]
        let gpus = self.gpus.is_none().then_some("memory on GPUs: there is no NVIDIA driver");
        #[cfg(not(feature = "cuda"))]
        let gpus = Some("memory on GPUs: this program was built without the feature `cuda`");
        files.into_iter().chain(gpus).collect()
    }
}

impl Source for ProcessSource {
    fn look(&mut self, values: &mut Values) -> Result<()> {
        set_process(values, &self.process.read().map_err(|error| gone_or_unread(self.pid, error))?);
        #[cfg(feature = "cuda")]
        values.set(Quantity::GpuProcess, self.gpus.as_ref().and_then(|gpus| gpus.held_bytes(self.pid)));
        Ok(())
    }
}

fn set_process(values: &mut Values, process: &ProcessSample) {
    values.set(Quantity::Resident, process.resident_bytes);
    values.set(Quantity::Virtual, process.virtual_bytes);
    values.set(Quantity::OpenFiles, process.open_files);
    values.set(Quantity::Threads, process.threads);
}

fn unread(source: io::Error) -> Error {
    Error::Io { action: "read", path: "/proc/self".into(), source }
}

fn gone_or_unread(pid: u32, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::NoProcess { pid },
        _ => Error::Io { action: "read", path: format!("/proc/{pid}").into(), source },
    }
}
