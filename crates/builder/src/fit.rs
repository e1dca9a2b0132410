//! The largest batch whose engine fits a budget.

use crate::budget::check_budget;
use crate::build::Libraries;
use crate::manifest::{BatchMemory, MemoryInfo};
use crate::measure::measure_with;
use crate::{BuildOptions, CancelFlag, Error, Progress, Result, format_bytes};
use std::sync::Arc;
use trtforge_graph::{Dimension, Model, ValueType};

/// No larger batch is tried.
pub const MOST_BATCH: u64 = 1024;

/// The largest batch, up to [`MOST_BATCH`], whose bytes are within the budget, and its bytes. Bytes must not sink as batches grow; those of `known` ones are not asked
/// for again. Batches in between are guessed by the line through the nearest known ones, and halved where that gets nowhere.
///
/// # Errors
/// Those of `bytes_of`.
pub fn largest_within<E>(
    budget: u64,
    known: Vec<(u64, u64)>,
    mut bytes_of: impl FnMut(u64) -> std::result::Result<u64, E>,
) -> std::result::Result<Option<(u64, u64)>, E> {
    let mut fits = known.iter().copied().filter(|(_, bytes)| *bytes <= budget).max();
    let mut fails = known.iter().copied().filter(|(_, bytes)| *bytes > budget).min();
    if fits.is_none() && fails.is_none_or(|(batch, _)| batch > 1) {
        let one = (1, bytes_of(1)?);
        if one.1 <= budget { fits = Some(one) } else { fails = Some(one) }
    }
    let Some(mut below) = fits else { return Ok(None) };
    let mut turn = 0;
    loop {
        let most = fails.map_or(MOST_BATCH, |(batch, _)| batch - 1);
        if below.0 >= most {
            return Ok(Some(below));
        }
        let guess = match fails {
            Some((batch, bytes)) if turn % 2 == 0 && bytes > below.1 => {
                let share = (budget - below.1) as f64 / (bytes - below.1) as f64;
                below.0 + ((batch - below.0) as f64 * share) as u64
            }
            Some((batch, _)) => below.0 + (batch - below.0) / 2,
            // What one more takes is not known yet; it is no more than an equal part of everything.
            None => (below.0 as f64 * budget as f64 / below.1.max(1) as f64) as u64,
        };
        let next = guess.clamp(below.0 + 1, most);
        let bytes = bytes_of(next)?;
        if bytes <= budget {
            below = (next, bytes)
        } else {
            fails = Some((next, bytes))
        }
        turn += 1;
    }
}

/// Whether an input leaves its first dimension open.
pub fn has_open_batch(model: &Model) -> bool {
    let graph = &model.proto().graph;
    graph.input.iter().any(|input| {
        let ty = input.type_.as_ref().and_then(ValueType::from_proto);
        let first = ty.as_ref().and_then(ValueType::tensor).and_then(|ty| ty.shape.as_ref()?.first().cloned());
        first.is_some_and(|first| !matches!(first, Dimension::Fixed(_)))
    })
}

/// A batch that fits, and what was measured on the way to it.
pub(crate) struct Fit {
    pub(crate) batch: u64,
    /// By batch, smallest first.
    pub(crate) measured: Vec<BatchMemory>,
}

/// The largest batch for a budget; nothing where there is none, or shapes were asked for, or the model settles the batch.
///
/// # Errors
/// [`Error::MemoryBudget`] where not even one fits; those of the builds.
pub(crate) fn fit(
    options: &BuildOptions,
    libraries: &Libraries,
    progress: &Arc<dyn Progress>,
    cancel: &CancelFlag,
) -> Result<Option<Fit>> {
    let prepare = &options.prepare;
    let Some(budget) = options.memory_budget else { return Ok(None) };
    if prepare.batch.is_some() || !prepare.shapes.is_empty() || !prepare.settle_shapes {
        return Ok(None);
    }
    if !has_open_batch(&Model::read(&prepare.model).map_err(|source| Error::model(&prepare.model, source))?) {
        return Ok(None);
    }
    let quiet: Arc<dyn Progress> = Arc::new(());
    let mut measured: Vec<BatchMemory> = Vec::new();
    let largest = largest_within::<Error>(budget.bytes(), vec![], |batch| {
        progress.step(&format!("fit batch {batch}"));
        let mut at = options.clone();
        at.prepare.batch = Some(batch);
        let memory = measure_with(&at, libraries, &quiet, cancel)?.memory;
        measured.push(BatchMemory {
            batch,
            activation_bytes: memory.activation_bytes,
            io_bytes: memory.io_bytes,
            total_bytes: memory.total_bytes,
        });
        Ok(memory.total_bytes)
    })?;
    measured.sort_by_key(|memory| memory.batch);
    let Some((batch, bytes)) = largest else {
        let smallest = measured.first().map(|one| MemoryInfo {
            weights_bytes: one.total_bytes.saturating_sub(one.activation_bytes + one.io_bytes),
            activation_bytes: one.activation_bytes,
            io_bytes: one.io_bytes,
            total_bytes: one.total_bytes,
            ..MemoryInfo::default()
        });
        let mut at = options.clone();
        at.prepare.batch = measured.first().map(|one| one.batch);
        return check_budget(&at, 1, &smallest.unwrap_or_default()).map(|()| None);
    };
    let beyond = measured.iter().find(|memory| memory.batch > batch).map_or_else(String::new, |memory| {
        format!("; batch {} would take {}", memory.batch, format_bytes(memory.total_bytes))
    });
    progress.note(&format!("batch {batch} fits into {budget} with {}{beyond}", format_bytes(bytes)));
    Ok(Some(Fit { batch, measured }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_is_found_in_few_builds() {
        for (budget, known, expected) in [
            (1000, vec![(1, 100), (4, 310)], Some(13)),
            (1000, vec![(16, 1150)], Some(13)),
            (1000, vec![(1, 1001)], None),
            (99, vec![], None),
            (100, vec![], Some(1)),
            (u64::MAX / 4, vec![(1, 100)], Some(MOST_BATCH)),
        ] {
            let mut builds = 0;
            let bytes_of = |batch: u64| {
                builds += 1;
                Ok(30 + 70 * batch)
            };
            let found = largest_within::<Error>(budget, known.clone(), bytes_of).unwrap();
            assert_eq!(found.map(|(batch, _)| batch), expected, "{budget} {known:?}");
            assert!(builds <= 5, "{budget} {known:?}: {builds}");
        }
    }

    #[test]
    fn steps_and_bends_are_no_matter() {
        let bytes = |batch: u64| 1000 + 512 * (batch * batch / 100) + 64 * (batch / 8);
        for budget in (900..200_000).step_by(777) {
            let expected = (1..=MOST_BATCH).rev().find(|&batch| bytes(batch) <= budget);
            let known = vec![(1, bytes(1)), (16, bytes(16))];
            let found = largest_within::<Error>(budget, known, |batch| Ok(bytes(batch))).unwrap();
            assert_eq!(found.map(|(batch, _)| batch), expected, "{budget}");
        }
    }
}
