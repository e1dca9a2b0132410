//! What doctor finds, as data: the same for the table and for `--json`.

use crate::table::Table;
use serde::Serialize;
use std::error::Error;
use std::path::PathBuf;
use trtforge_builder::format_bytes;
use trtforge_libraries::{Library, Missing, ONNX_PARSER, ONNX_RUNTIME, TENSORRT};
use trtforge_onnxruntime::OnnxRuntime;
use trtforge_tensorrt::{Device, TensorRt};

/// Everything about this machine that decides what works.
#[derive(Debug, Serialize)]
pub struct Report {
    trtforge: &'static str,
    flavour: &'static str,
    libraries: Vec<LibraryReport>,
    driver: DriverReport,
    /// What works.
    pub works: Works,
}

/// One shared library.
#[derive(Debug, Default, Serialize)]
struct LibraryReport {
    name: &'static str,
    path: Option<PathBuf>,
    found_by: Option<String>,
    version: Option<String>,
    remark: Option<String>,
    problem: Option<String>,
    /// Folders without it, if it was not found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    looked_in: Vec<String>,
    #[serde(skip)]
    hint: Option<String>,
}

/// The driver and what it drives.
#[derive(Debug, Serialize)]
struct DriverReport {
    cuda: Option<String>,
    gpus: Vec<GpuReport>,
    problem: Option<String>,
    #[serde(skip)]
    hint: Option<String>,
}

#[derive(Debug, Serialize)]
struct GpuReport {
    name: String,
    compute_capability: String,
    memory_bytes: u64,
    /// Why no engine runs on it.
    problem: Option<String>,
}

/// What works on this machine.
#[derive(Debug, Serialize)]
pub struct Works {
    /// `build`: model to engine, verified.
    pub build: Verdict,
    /// `quantize`, `compare` and everything else that runs models on the CPU.
    pub models_on_the_cpu: Verdict,
    /// Running engines.
    pub run_engines: Verdict,
}

/// Whether something works, and what to do if not.
#[derive(Debug, Serialize)]
pub struct Verdict {
    works: bool,
    /// What it needs; present only when it does not work.
    pub hint: Option<String>,
}

impl Verdict {
    fn of(problem: Option<String>) -> Self {
        Self { works: problem.is_none(), hint: problem }
    }
}

impl Report {
    /// Looks at this machine; opens the libraries and asks the driver.
    pub fn of_this_machine() -> Self {
        let tensorrt = LibraryReport::of("TensorRT", &TENSORRT, || {
            TensorRt::load().map(|loaded| loaded.version().to_string()).map_err(Problem::from_tensorrt)
        });
        let parser = LibraryReport::of("ONNX parser", &ONNX_PARSER, || Ok(String::new()));
        let runtime = LibraryReport::of("ONNX Runtime", &ONNX_RUNTIME, || {
            OnnxRuntime::load().map(|loaded| loaded.version().to_string()).map_err(Problem::from_onnx_runtime)
        });
        let driver = DriverReport::of_this_machine();
        let works = Works::from(&[&tensorrt, &parser, &runtime], &driver);
        Self {
            trtforge: env!("CARGO_PKG_VERSION"),
            flavour: TENSORRT.what,
            libraries: vec![tensorrt, parser, runtime],
            driver,
            works,
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!("trtforge {} for {}\n\n", self.trtforge, self.flavour);
        text += &self.libraries_table();
        text += "\n";
        text += &self.driver.text();
        text += "\n";
        text += &self.works.text();
        text
    }

    fn libraries_table(&self) -> String {
        let mut table = Table::new(&["LIBRARY", "VERSION", "FILE"]);
        let mut remarks = String::new();
        for library in &self.libraries {
            table.row([library.name.to_owned(), library.version_text(), library.file_text()]);
            for (label, line) in [("note", &library.remark), ("problem", &library.problem)] {
                remarks += &line.as_ref().map(|line| format!("{label}: {line}\n")).unwrap_or_default();
            }
        }
        table.render() + &remarks + &self.places()
    }

    /// Where a missing library was looked for; the places are the same for all.
    fn places(&self) -> String {
        let Some(missing) = self.libraries.iter().find(|library| !library.looked_in.is_empty()) else {
            return String::new();
        };
        format!("looked in:\n  {}\n", missing.looked_in.join("\n  "))
    }
}

/// What is wrong with a library and what to do about it.
struct Problem {
    message: String,
    hint: Option<String>,
}

impl Problem {
    fn from_unusable(error: trtforge_libraries::Unusable) -> Self {
        Self { message: whole_message(&error), hint: error.hint() }
    }

    fn from_tensorrt(error: trtforge_tensorrt::Error) -> Self {
        Self { message: whole_message(&error), hint: error.hint() }
    }

    fn from_onnx_runtime(error: trtforge_onnxruntime::Error) -> Self {
        Self { message: whole_message(&error), hint: error.hint() }
    }
}

/// An error and its causes in one line.
fn whole_message(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

impl LibraryReport {
    fn of(name: &'static str, library: &Library, open: impl FnOnce() -> Result<String, Problem>) -> Self {
        let found = match trtforge_libraries::find(library) {
            Ok(found) => found,
            Err(missing) => return Self::missing(name, &missing),
        };
        let remark = found.remark();
        let known = Self { name, found_by: Some(found.source.to_string()), remark, ..Self::default() };
        let opened = trtforge_libraries::check(&found.path).map_err(Problem::from_unusable).and_then(|()| open());
        let known = Self { path: Some(found.path), ..known };
        match opened {
            Ok(version) => Self { version: Some(version).filter(|version| !version.is_empty()), ..known },
            Err(problem) => Self { problem: Some(problem.message), hint: problem.hint, ..known },
        }
    }

    fn missing(name: &'static str, missing: &Missing) -> Self {
        Self {
            name,
            problem: Some(format!("{} was not found", missing.library.versioned_name())),
            looked_in: missing.places.iter().map(ToString::to_string).collect(),
            hint: missing.hint(),
            ..Self::default()
        }
    }

    fn version_text(&self) -> String {
        let absent = match (&self.path, &self.problem) {
            (None, _) => "missing",
            (_, Some(_)) => "unusable",
            _ => "",
        };
        self.version.clone().unwrap_or_else(|| absent.to_owned())
    }

    fn file_text(&self) -> String {
        let Some(path) = &self.path else { return String::new() };
        format!("{} ({})", path.display(), self.found_by.as_deref().unwrap_or_default())
    }

    /// What to do, if this library is not usable.
    fn remedy(&self) -> Option<String> {
        let problem = self.problem.as_ref()?;
        Some(self.hint.clone().unwrap_or_else(|| problem.clone()))
    }
}

impl DriverReport {
    fn of_this_machine() -> Self {
        match Device::all() {
            Ok(devices) => Self {
                cuda: devices.first().map(|device| dotted(device.driver_cuda)),
                gpus: devices.into_iter().map(GpuReport::of).collect(),
                problem: None,
                hint: None,
            },
            Err(error) => Self { cuda: None, gpus: Vec::new(), problem: Some(error.to_string()), hint: error.hint() },
        }
    }

    /// What to do, if there is no GPU to run engines on; one that TensorRT serves is enough.
    fn remedy(&self) -> Option<String> {
        let Some(problem) = &self.problem else {
            let unserved = self.gpus.iter().map(|gpu| gpu.problem.clone());
            return unserved.collect::<Option<Vec<_>>>().map(|problems| problems.join("; "));
        };
        Some(self.hint.clone().unwrap_or_else(|| problem.clone()))
    }

    fn text(&self) -> String {
        let mut rows = Table::new(&["GPU", "COMPUTE CAPABILITY", ">MEMORY"]);
        for gpu in &self.gpus {
            rows.row([gpu.name.clone(), gpu.compute_capability.clone(), format_bytes(gpu.memory_bytes)]);
        }
        let cuda = self.cuda.as_ref().map(|version| format!("driver for CUDA up to {version}\n")).unwrap_or_default();
        let problem = self.problem.as_ref().map(|problem| format!("no GPU: {problem}\n")).unwrap_or_default();
        let gpus = if rows.is_empty() { String::new() } else { rows.render() };
        cuda + &problem + &gpus
    }
}

impl GpuReport {
    fn of(device: Device) -> Self {
        let problem = device.unserved();
        Self {
            name: device.name,
            compute_capability: dotted(device.compute_capability),
            memory_bytes: device.memory_bytes,
            problem,
        }
    }
}

fn dotted((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

impl Works {
    fn from(libraries: &[&LibraryReport; 3], driver: &DriverReport) -> Self {
        let [tensorrt, parser, runtime] = libraries;
        let engine_libraries = tensorrt.remedy().or_else(|| parser.remedy());
        Self {
            build: Verdict::of(engine_libraries.clone().or_else(|| runtime.remedy())),
            models_on_the_cpu: Verdict::of(runtime.remedy()),
            run_engines: Verdict::of(driver.remedy().or(engine_libraries)),
        }
    }

    fn text(&self) -> String {
        let mut table = Table::new(&["WHAT", "HERE", ""]);
        for (what, verdict) in [
            ("build engines (needs no GPU)", &self.build),
            ("quantize, compare, plan models on the CPU", &self.models_on_the_cpu),
            ("run engines", &self.run_engines),
        ] {
            let answer = if verdict.works { "yes" } else { "no" };
            table.row([what, answer, verdict.hint.as_deref().unwrap_or_default()]);
        }
        table.render()
    }
}

#[cfg(all(test, not(feature = "enterprise")))]
mod tests {
    use super::*;

    fn driver(capabilities: &[(u32, u32)]) -> DriverReport {
        let device = |&compute_capability: &(u32, u32)| Device {
            name: "a GPU".to_owned(),
            compute_capability,
            memory_bytes: 1 << 30,
            driver_cuda: (13, 0),
        };
        let gpus = capabilities.iter().map(device).map(GpuReport::of).collect();
        DriverReport { cuda: None, gpus, problem: None, hint: None }
    }

    #[test]
    fn a_gpu_that_tensorrt_does_not_serve_runs_no_engines() {
        assert_eq!(driver(&[(8, 6)]).remedy(), None);
        assert_eq!(driver(&[(9, 0), (12, 0)]).remedy(), None, "one of them is enough");
        let told = driver(&[(9, 0)]).remedy().unwrap_or_default();
        assert!(told.contains("8.9") && told.ends_with("a GPU has 9.0"), "{told}");
    }
}
