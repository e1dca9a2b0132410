//! The `--accuracy-floor` flag: the least accuracy that is accepted.

use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::Args;
use trtforge_builder::AccuracyFloor;

/// The least accuracy that is accepted.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Accuracy")]
pub struct AccuracyArgs {
    /// Least accuracy of every output: sqnr_db=20, cosine=0.999 or channel_db=12; once per metric
    #[arg(long, value_name = "METRIC=VALUE")]
    pub accuracy_floor: Vec<AccuracyFloor>,
}

impl AccuracyArgs {
    /// The floors of all flags in one, or none.
    ///
    /// # Errors
    /// When a metric is given twice.
    pub fn floor(&self) -> Result<Option<AccuracyFloor>> {
        let mut merged: Option<AccuracyFloor> = None;
        for floor in &self.accuracy_floor {
            let so_far = merged.get_or_insert_default();
            let twice = |a: Option<f64>, b: Option<f64>| a.is_some() && b.is_some();
            if twice(floor.sqnr_db, so_far.sqnr_db)
                || twice(floor.cosine, so_far.cosine)
                || twice(floor.channel_db, so_far.channel_db)
            {
                bail!(Failure::usage("--accuracy-floor is given twice for one metric"));
            }
            so_far.sqnr_db = so_far.sqnr_db.or(floor.sqnr_db);
            so_far.cosine = so_far.cosine.or(floor.cosine);
            so_far.channel_db = so_far.channel_db.or(floor.channel_db);
        }
        Ok(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(texts: &[&str]) -> AccuracyArgs {
        AccuracyArgs { accuracy_floor: texts.iter().map(|text| text.parse().unwrap()).collect() }
    }

    #[test]
    fn metrics_add_up_and_do_not_repeat() {
        assert_eq!(args(&[]).floor().unwrap(), None);
        let both = args(&["cosine=0.9", "sqnr_db=20"]).floor().unwrap().unwrap();
        assert_eq!((both.cosine, both.sqnr_db), (Some(0.9), Some(20.0)));
        assert!(args(&["cosine=0.9", "cosine=0.8"]).floor().is_err());
    }
}
