//! Flags that say how thresholds are chosen and on how many threads.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use trtforge_builder::CalibrationMethod;

/// How thresholds are found.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Calibration")]
pub struct CalibrationArgs {
    /// How thresholds are chosen; without it the config's, else auto
    #[arg(long, value_name = "METHOD", value_parser = method_parser())]
    pub calibration_method: Option<CalibrationMethod>,
    /// Inputs to run at once; each takes the memory of an inference [default: one per processor, at most 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

const METHODS: [(&str, CalibrationMethod); 5] = [
    ("auto", CalibrationMethod::Auto),
    ("entropy", CalibrationMethod::Entropy),
    ("percentile", CalibrationMethod::Percentile),
    ("mse", CalibrationMethod::Mse),
    ("minmax", CalibrationMethod::Minmax),
];

fn method_parser() -> impl TypedValueParser<Value = CalibrationMethod> {
    PossibleValuesParser::new(METHODS.map(|(name, _)| name)).map(|name| {
        let known = METHODS.into_iter().find(|(known, _)| *known == name);
        known.expect("the parser admits only these names").1
    })
}
