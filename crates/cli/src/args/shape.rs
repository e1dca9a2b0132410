//! Flags that settle the shapes of the inputs.
//!
//! Only repetition is judged here. What the shapes say of each other and of the model is checked by the builder.

use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::Args;
use trtforge_builder::{NamedShape, ShapeRequest};

/// Flags that settle the shapes of the inputs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Shapes")]
pub struct ShapeArgs {
    /// Fix the open leading dimension of every input to N
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["min_shape", "opt_shape", "max_shape"]
    )]
    pub batch: Option<u32>,
    /// Smallest shape of an input; once per input
    #[arg(long, value_name = "NAME=1x3x640x640")]
    pub min_shape: Vec<NamedShape>,
    /// Shape to optimise an input for; alone it fixes the shape
    #[arg(long, value_name = "NAME=1x3x640x640")]
    pub opt_shape: Vec<NamedShape>,
    /// Largest shape of an input
    #[arg(long, value_name = "NAME=1x3x640x640")]
    pub max_shape: Vec<NamedShape>,
}

impl ShapeArgs {
    /// The shapes asked for, by input.
    ///
    /// # Errors
    /// When a flag is given twice for one input.
    pub fn request(&self) -> Result<ShapeRequest> {
        let mut request = ShapeRequest::default();
        for (flag, shapes, set) in [
            ("--min-shape", &self.min_shape, ShapeRequest::set_min as fn(&mut ShapeRequest, NamedShape)),
            ("--opt-shape", &self.opt_shape, ShapeRequest::set_opt),
            ("--max-shape", &self.max_shape, ShapeRequest::set_max),
        ] {
            refuse_repetition(flag, shapes)?;
            shapes.iter().cloned().for_each(|shape| set(&mut request, shape));
        }
        Ok(request)
    }
}

fn refuse_repetition(flag: &str, shapes: &[NamedShape]) -> Result<()> {
    for (index, shape) in shapes.iter().enumerate() {
        if let Some(earlier) = shapes[..index].iter().find(|earlier| earlier.input == shape.input) {
            bail!(Failure::usage(format!(
                "{flag} is given twice for input `{}`: {} and {}",
                shape.input, earlier.shape, shape.shape
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> NamedShape {
        text.parse().unwrap()
    }

    #[test]
    fn one_flag_serves_an_input_once() {
        let twice = ShapeArgs { opt_shape: vec![shape("x=4"), shape("y=4"), shape("x=5")], ..Default::default() };
        assert_eq!(twice.request().unwrap_err().to_string(), "--opt-shape is given twice for input `x`: 4 and 5");
    }
}
