//! What does not fit a memory budget, and what would.

use crate::build::{BuildOptions, Libraries};
use crate::compile::Watch;
use crate::manifest::MemoryInfo;
use crate::measure::lay_out_with;
use crate::precision::Precision;
use crate::segments::Stages;
use crate::size::format_bytes;
use crate::{Error, Progress, Result};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A budget that was missed.
#[derive(Clone, Debug)]
pub struct BudgetMiss {
    /// Bytes allowed.
    pub budget_bytes: u64,
    /// What the engine takes that comes nearest.
    pub memory: MemoryInfo,
    /// Everything that was looked at.
    pub tried: Vec<Tried>,
}

/// One engine that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Its precision.
    pub precision: Precision,
    /// Its batch; none where the model fixes it, or shapes were asked for.
    pub batch: Option<u64>,
    /// Stages that it is cut into.
    pub stages: usize,
    /// Bytes that it takes.
    pub total_bytes: u64,
}

impl Tried {
    pub(crate) fn new(options: &BuildOptions, stages: usize, total_bytes: u64) -> Self {
        let batch = if options.prepare.shapes.is_empty() { options.prepare.batch } else { None };
        Self { precision: options.prepare.precision, batch, stages, total_bytes }
    }
}

/// [`Error::MemoryBudget`] where what was built takes more than the budget of `options`.
pub(crate) fn check_budget(options: &BuildOptions, stages: usize, memory: &MemoryInfo) -> Result<()> {
    match options.memory_budget {
        Some(budget) if memory.total_bytes > budget.bytes() => Err(Error::MemoryBudget(Box::new(BudgetMiss {
            budget_bytes: budget.bytes(),
            memory: memory.clone(),
            tried: vec![Tried::new(options, stages, memory.total_bytes)],
        }))),
        _ => Ok(()),
    }
}

impl BudgetMiss {
    /// The same with what another one tried as well, and the nearer of the two.
    pub(crate) fn join(mut self, other: Self) -> Self {
        if other.memory.total_bytes < self.memory.total_bytes {
            self.memory = other.memory;
        }
        self.tried.extend(other.tried);
        self
    }

    /// The same with lower precisions, as one engine and in stages, laid out as they are: a build may find forms that take less. What cannot be built is left out.
    pub(crate) fn with_alternatives(
        mut self,
        options: &BuildOptions,
        libraries: &Libraries,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let quiet: Arc<dyn Progress> = Arc::new(());
        let lower =
            [Precision::Fp16, Precision::Int8].into_iter().filter(|precision| match options.prepare.precision {
                Precision::Fp32 => true,
                Precision::Fp16 => *precision == Precision::Int8,
                _ => false,
            });
        for precision in lower {
            let mut one = BuildOptions { lean: false, verify: false, stages: None, ..options.clone() };
            one.prepare.precision = precision;
            if one.prepare.shapes.is_empty() {
                one.prepare.batch = one.prepare.batch.or(Some(1));
            }
            for stages in [None, Some(Stages::Auto)] {
                one.stages = stages;
                watch.cancel.check()?;
                watch
                    .progress
                    .step(&format!("{precision}{} for comparison", if stages.is_some() { " in stages" } else { "" }));
                let measured = match lay_out_with(&one, libraries, &quiet, watch.cancel) {
                    Ok(laid_out) => laid_out.measured,
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    Err(_) => break,
                };
                self.tried.push(Tried::new(&one, measured.stages.len().max(1), measured.memory.total_bytes));
                if measured.memory.total_bytes <= self.budget_bytes {
                    break;
                }
            }
        }
        Ok(self)
    }

    /// What would fit, or how far the nearest is from it.
    pub(crate) fn hint(&self) -> String {
        let Some(least) = self
            .tried
            .iter()
            .min_by_key(|tried| (tried.total_bytes > self.budget_bytes, tried.stages, tried.total_bytes))
        else {
            return "raise --memory-budget".into();
        };
        let stages = if least.stages > 1 { format!(" --stages {}", least.stages) } else { String::new() };
        if least.total_bytes <= self.budget_bytes {
            return format!("--precision {}{stages} fits", least.precision);
        }
        let least = self.tried.iter().map(|tried| tried.total_bytes).min().unwrap_or_default();
        let batch = if self.tried.iter().any(|tried| tried.batch > Some(1)) { "a smaller --batch, " } else { "" };
        format!("take {batch}a smaller input, or a budget of at least {least} ({})", format_bytes(least))
    }
}

impl fmt::Display for BudgetMiss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryInfo { weights_bytes, activation_bytes, io_bytes, total_bytes, .. } = &self.memory;
        write!(
            out,
            "the engine takes {} and the budget is {} (weights {}, activation {}, inputs and outputs {})",
            format_bytes(*total_bytes),
            format_bytes(self.budget_bytes),
            format_bytes(*weights_bytes),
            format_bytes(*activation_bytes),
            format_bytes(*io_bytes)
        )?;
        if self.tried.len() < 2 {
            return Ok(());
        }
        write!(out, "\n{:9}  {:>5}  {:>6}  {:>10}", "PRECISION", "BATCH", "STAGES", "TOTAL")?;
        for Tried { precision, batch, stages, total_bytes } in &self.tried {
            let batch = batch.map_or_else(|| "-".to_owned(), |batch| batch.to_string());
            let fits = if *total_bytes <= self.budget_bytes { "  fits" } else { "" };
            let (precision, total) = (precision.name(), format_bytes(*total_bytes));
            write!(out, "\n{precision:9}  {batch:>5}  {stages:>6}  {total:>10}{fits}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(tried: &[(Precision, usize, u64)]) -> BudgetMiss {
        let memory = MemoryInfo {
            weights_bytes: 60,
            activation_bytes: 30,
            io_bytes: 10,
            total_bytes: 100,
            ..MemoryInfo::default()
        };
        let tried = tried.iter().map(|&(precision, stages, total_bytes)| Tried {
            precision,
            batch: Some(1),
            stages,
            total_bytes,
        });
        BudgetMiss { budget_bytes: 50, memory, tried: tried.collect() }
    }

    #[test]
    fn the_hint_names_what_fits_with_the_fewest_stages() {
        let miss = miss(&[(Precision::Fp32, 1, 100), (Precision::Fp16, 4, 40), (Precision::Int8, 1, 45)]);
        assert_eq!(miss.hint(), "--precision int8 fits");
        let text = miss.to_string();
        assert!(text.contains("fp16           1       4        40 B  fits"), "{text}");
        assert!(text.lines().next().unwrap().starts_with("the engine takes 100 B and the budget is 50 B"), "{text}");
    }

    #[test]
    fn where_nothing_fits_the_hint_says_how_much_would_do() {
        let miss = miss(&[(Precision::Fp32, 1, 100), (Precision::Fp16, 3, 70)]);
        assert!(miss.hint().contains("at least 70"), "{}", miss.hint());
    }

    #[test]
    fn the_nearer_of_two_is_told() {
        let mut staged = miss(&[(Precision::Fp32, 4, 60)]);
        staged.memory.total_bytes = 60;
        let joined = miss(&[(Precision::Fp32, 1, 100)]).join(staged);
        assert_eq!((joined.memory.total_bytes, joined.tried.len()), (60, 2));
    }
}
