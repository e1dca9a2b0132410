//! What an engine would take, from a build of which only the figures are kept.
//!
//! Figures are remembered under the digest of everything that they depend on, so that the same question is answered at once.

use crate::activation::ActivationAccount;
use crate::build::{InputDigests, Libraries, fingerprint};
use crate::make::make;
use crate::{BuildOptions, CancelFlag, MemoryInfo, Progress, Result, StagedFile, Watch};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// What the engine of a model takes, and what its activation memory is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// TensorRT's figures.
    pub memory: MemoryInfo,
    /// The account of the activation memory.
    pub activation: ActivationAccount,
}

/// Memory of the engine that `options` would give. Nothing is verified, and no threshold is searched for: neither changes how an engine is laid out by more than the
/// few nodes that an accuracy floor keeps in FP16. `cache` is a folder for figures; what cannot be kept there is measured again the next time.
///
/// # Errors
/// Those of a build.
pub fn measure_memory(
    options: &BuildOptions,
    cache: Option<&Path>,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<MemoryInfo> {
    Ok(measure(options, cache, progress, cancel)?.memory)
}

/// As [`measure_memory`], with what the activation memory is made of.
///
/// # Errors
/// Those of a build.
pub fn measure(
    options: &BuildOptions,
    cache: Option<&Path>,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<Measured> {
    let options = measured(options);
    let libraries = Libraries::load()?;
    let mut inputs = InputDigests::start(&options.prepare);
    let fingerprint = fingerprint(&options, inputs.wait()?, &libraries);
    let remembered = cache.map(|folder| folder.join(format!("{fingerprint}.json")));
    if let Some(measured) = remembered.as_deref().and_then(recall) {
        return Ok(measured);
    }
    let made = make(&options, &libraries, &Watch { progress, cancel })?;
    let measured = Measured { memory: made.memory, activation: made.activation };
    if let Some(path) = &remembered {
        // Losing the figures costs a build, not the answer.
        let _ = remember(path, &measured);
    }
    Ok(measured)
}

/// Memory of the engine, with libraries that are there and nothing remembered.
pub(crate) fn measure_with(
    options: &BuildOptions,
    libraries: &Libraries,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<MemoryInfo> {
    Ok(make(&measured(options), libraries, &Watch { progress, cancel })?.memory)
}

/// The options without all that does not change how an engine is laid out.
fn measured(options: &BuildOptions) -> BuildOptions {
    let mut options = BuildOptions { verify: false, memory_budget: None, emit_onnx: None, ..options.clone() };
    options.prepare.int8.search = false;
    options
}

fn recall(path: &Path) -> Option<Measured> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn remember(path: &Path, measured: &Measured) -> Option<()> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    StagedFile::write(path, &serde_json::to_vec(measured).ok()?).ok()?.commit().ok()
}
