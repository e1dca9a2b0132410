//! The rewrite alone: a model in, a rewritten model out, no engine.

use crate::output::{OutputLock, check_clashes};
use crate::prepare::{PrepareOptions, Prepared, prepare};
use crate::{CancelFlag, Error, Progress, Result};
use std::path::Path;

/// Rewrites the model of `options` and writes it to `output`.
///
/// # Errors
/// Those of the pipeline; nothing is written then.
pub fn quantize(
    options: &PrepareOptions,
    output: &Path,
    progress: &dyn Progress,
    cancel: &CancelFlag,
) -> Result<Prepared> {
    check_clashes(&options.model, &[output.to_owned(), trtforge_graph::data_path(output)])?;
    let _lock = OutputLock::acquire(output)?;
    let prepared = prepare(options, progress, cancel)?;
    cancel.check()?;
    if prepared.is_undecided(options) {
        progress.note("stopped before the conversion: the model is written as it is, in 32 bits");
    }
    prepared.model.write(output).map_err(|source| Error::model(output, source))?;
    Ok(prepared)
}
