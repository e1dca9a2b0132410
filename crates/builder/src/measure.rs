//! What an engine would take, from a build of which only the figures are kept.
//!
//! Figures are remembered under the digest of everything that they depend on, so that the same question is answered at once.

use crate::build::{InputDigests, Libraries, fingerprint, make};
use crate::{BuildOptions, CancelFlag, MemoryInfo, Progress, Result, StagedFile, Watch};
use std::path::Path;
use std::sync::Arc;

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
    let options = measured(options);
    let libraries = Libraries::load()?;
    let mut inputs = InputDigests::start(&options.prepare);
    let fingerprint = fingerprint(&options, inputs.wait()?, &libraries);
    let remembered = cache.map(|folder| folder.join(format!("{fingerprint}.json")));
    if let Some(memory) = remembered.as_deref().and_then(recall) {
        return Ok(memory);
    }
    let memory = measure_with(&options, &libraries, progress, cancel)?;
    if let Some(path) = &remembered {
        // Losing the figures costs a build, not the answer.
        let _ = remember(path, &memory);
    }
    Ok(memory)
}

/// As [`measure_memory`], with libraries that are there and nothing remembered.
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

fn recall(path: &Path) -> Option<MemoryInfo> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn remember(path: &Path, memory: &MemoryInfo) -> Option<()> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    StagedFile::write(path, &serde_json::to_vec(memory).ok()?).ok()?.commit().ok()
}
