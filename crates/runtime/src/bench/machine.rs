//! The machine that was measured on, as far as it tells.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// The machine that was measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, where the system tells.
    pub cpu: Option<String>,
    /// Processors that this process may use.
    pub processors: usize,
    /// Threads within an operator of a model on the CPU; 0 is one per processor.
    pub threads: usize,
    /// The GPU; absent for what runs on the CPU.
    pub gpu: Option<Gpu>,
    /// Versions of what did the work.
    pub versions: Versions,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Version of the driver.
    pub driver: Option<String>,
    /// The highest clocks that it is allowed.
    pub max_clocks: Option<Clocks>,
}

/// Clocks of a GPU, in MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// Of the multiprocessors.
    pub sm_mhz: u32,
    /// Of the memory.
    pub memory_mhz: u32,
}

/// Versions of what did the work; what was not used is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Versions {
    /// This crate.
    pub trtforge: String,
    /// ONNX Runtime.
    pub onnx_runtime: Option<String>,
    /// TensorRT, with its flavour.
    pub tensorrt: Option<String>,
}

impl Machine {
    /// This machine, as `engine` uses it.
    #[must_use]
    pub fn of(engine: &Engine, threads: usize, gpu: u32) -> Self {
        let on_gpu = !engine.is_unified();
        Self {
            cpu: std::fs::read_to_string("/proc/cpuinfo").ok().as_deref().and_then(processor_name),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            threads,
            gpu: on_gpu.then(|| Gpu::described(engine.device(), ask(gpu, &Gpu::FIELDS).as_deref())),
            versions: Versions::of(on_gpu),
        }
    }
}

impl Versions {
    fn of(on_gpu: bool) -> Self {
        let trtforge = env!("CARGO_PKG_VERSION").to_owned();
        match on_gpu {
            true => Self { trtforge, onnx_runtime: None, tensorrt: tensorrt() },
            false => Self { trtforge, onnx_runtime: onnx_runtime(), tensorrt: None },
        }
    }
}

#[cfg(feature = "onnx")]
fn onnx_runtime() -> Option<String> {
    trtforge_onnxruntime::OnnxRuntime::load().ok().map(|library| library.version().to_string())
}

#[cfg(not(feature = "onnx"))]
fn onnx_runtime() -> Option<String> {
    None
}

#[cfg(feature = "tensorrt")]
fn tensorrt() -> Option<String> {
    let library = trtforge_tensorrt::TensorRt::load().ok()?;
    Some(format!("{} {}", library.flavour().name(), library.version()))
}

#[cfg(not(feature = "tensorrt"))]
fn tensorrt() -> Option<String> {
    None
}

impl Gpu {
    const FIELDS: [&str; 3] = ["driver_version", "clocks.max.sm", "clocks.max.memory"];

    fn described(name: &str, fields: Option<&[String]>) -> Self {
        let [driver, sm, memory] = fields.unwrap_or_default() else {
            return Self { name: name.to_owned(), driver: None, max_clocks: None };
        };
        Self { name: name.to_owned(), driver: Some(driver.clone()), max_clocks: clocks(sm, memory) }
    }
}

impl Clocks {
    /// The clocks of a GPU now, where the driver's `nvidia-smi` is here and tells.
    #[must_use]
    pub fn now(gpu: u32) -> Option<Self> {
        match ask(gpu, &["clocks.sm", "clocks.mem"])?.as_slice() {
            [sm, memory] => clocks(sm, memory),
            _ => None,
        }
    }
}

fn clocks(sm: &str, memory: &str) -> Option<Clocks> {
    Some(Clocks { sm_mhz: sm.parse().ok()?, memory_mhz: memory.parse().ok()? })
}

/// What the driver's own tool says of a GPU; its library for this has no stable place to be loaded from.
fn ask(gpu: u32, fields: &[&str]) -> Option<Vec<String>> {
    let query = format!("--query-gpu={}", fields.join(","));
    let number = format!("--id={gpu}");
    let answer = Command::new("nvidia-smi").args([&query, &number, "--format=csv,noheader,nounits"]).output().ok()?;
    answer.status.success().then(|| row(&String::from_utf8_lossy(&answer.stdout)))
}

fn row(text: &str) -> Vec<String> {
    text.lines().next().unwrap_or_default().split(',').map(|field| field.trim().to_owned()).collect()
}

fn processor_name(cpuinfo: &str) -> Option<String> {
    let named = |line: &str| {
        line.split_once(':').filter(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim().to_owned())
    };
    cpuinfo.lines().find_map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says_of_a_gpu() {
        let gpu = Gpu::described("H100", Some(&row("580.82.07, 1980, 2619\n")));
        assert_eq!(gpu.driver.as_deref(), Some("580.82.07"));
        assert_eq!(gpu.max_clocks, Some(Clocks { sm_mhz: 1980, memory_mhz: 2619 }));
        let silent = Gpu::described("Orin", Some(&row("540.4.0, [N/A], [N/A]")));
        assert_eq!((silent.driver.as_deref(), silent.max_clocks), (Some("540.4.0"), None));
        assert_eq!(Gpu::described("x", None).driver, None);
    }

    #[test]
    fn the_processor_has_a_name_where_the_system_gives_it_one() {
        assert_eq!(processor_name("processor\t: 0\nmodel name\t: A fast: one\n").as_deref(), Some("A fast: one"));
        assert_eq!(processor_name("processor\t: 0\n"), None);
    }
}
