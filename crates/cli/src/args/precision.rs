//! Flags that settle the precision: what to compute in, and which nodes are kept out of it.

use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use trtforge_builder::{Keep, NodePrecision, Precision};

/// Flags that settle the precision.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Precision")]
pub struct PrecisionArgs {
    /// What to compute in; without it the config's, else fp16. auto builds int8 and fp16 and keeps what takes less memory
    #[arg(long, value_parser = precision_parser(&ALL))]
    pub precision: Option<Precision>,
    /// Keep nodes whose name matches in fp32, or in fp16 where others are quantized; repeatable
    #[arg(long, value_name = "PRECISION:REGEX")]
    pub keep: Vec<Keep>,
    /// Make fp32 inputs and outputs of the model fp16 too
    #[arg(long)]
    pub half_io: bool,
}

const ALL: [Precision; 4] = [Precision::Fp32, Precision::Fp16, Precision::Int8, Precision::Auto];

/// A parser of the names of these precisions.
pub fn precision_parser(known: &'static [Precision]) -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(known.iter().map(|precision| precision.name())).map(|name| {
        let known = known.iter().copied().find(|precision| precision.name() == name);
        known.expect("the parser admits only these names")
    })
}

impl PrecisionArgs {
    /// The precision to compute in, `configured` being the config's.
    ///
    /// # Errors
    /// A usage error for flags that could have no effect in the precision.
    pub fn choose(&self, configured: Option<Precision>) -> Result<Precision> {
        let precision = self.precision.or(configured).unwrap_or(Precision::Fp16);
        if precision == Precision::Fp32 && (self.half_io || !self.keep.is_empty()) {
            let flag = if self.half_io { "--half-io" } else { "--keep" };
            bail!(Failure::usage(format!("{flag} has no effect in fp32: nothing is lowered there")));
        }
        let quantizes = matches!(precision, Precision::Int8 | Precision::Auto);
        if !quantizes && self.keep.iter().any(|keep| keep.precision == NodePrecision::Fp16) {
            let message = "--keep fp16:REGEX only has an effect with --precision int8 or auto";
            bail!(Failure::usage(message).hint("--keep fp32:REGEX keeps nodes in fp32"));
        }
        Ok(precision)
    }
}
