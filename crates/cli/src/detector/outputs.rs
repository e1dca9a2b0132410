//! A network's outputs, copied out of a session in the types that decoders read.

use crate::failure::Failure;
use anyhow::{Result, bail};
use half::f16;
use trtforge_runtime::{ElementType, Signature, Slot, TensorInfo};
use trtforge_vision::{Numbers, OutputShape, Values};

/// The outputs of one run; their memory serves the next one too.
#[derive(Debug, Default)]
pub struct RunOutputs {
    shapes: Vec<OutputShape>,
    values: Vec<Numeric>,
}

/// One output; only the list of its own type is filled.
#[derive(Debug, Default)]
struct Numeric {
    element: Option<ElementType>,
    f32: Vec<f32>,
    i32: Vec<i32>,
    i64: Vec<i64>,
}

impl RunOutputs {
    /// Takes over what the slot's last run put out.
    ///
    /// # Errors
    /// An output of a type that no decoder reads, and as for the slot.
    pub fn take(&mut self, signature: &Signature, slot: &mut Slot<'_>) -> Result<()> {
        self.shapes.clear();
        self.values.resize_with(signature.outputs.len(), Numeric::default);
        for (output, values) in signature.outputs.iter().zip(&mut self.values) {
            self.shapes.push(shape(output, slot)?);
            values.take(output, slot)?;
        }
        Ok(())
    }

    /// Names, shapes and kinds.
    pub fn shapes(&self) -> &[OutputShape] {
        &self.shapes
    }

    /// The numbers.
    pub fn values(&self) -> Vec<Values<'_>> {
        fn view(values: &Numeric) -> Values<'_> {
            match values.element {
                Some(ElementType::Int32) => Values::I32(&values.i32),
                Some(ElementType::Int64) => Values::I64(&values.i64),
                _ => Values::F32(&values.f32),
            }
        }
        self.values.iter().map(view).collect()
    }
}

/// The outputs that a slot would put out, where they are known before the first run.
pub fn expected_shapes(signature: &Signature, slot: &Slot<'_>) -> Option<Vec<OutputShape>> {
    signature.outputs.iter().map(|output| shape(output, slot).ok()).collect()
}

fn shape(output: &TensorInfo, slot: &Slot<'_>) -> Result<OutputShape> {
    let shape = slot.output_shape(&output.name)?;
    let dimensions = shape.iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>()?;
    let numbers = match output.element {
        ElementType::Float32 | ElementType::Float16 => Numbers::Fractions,
        _ => Numbers::Whole,
    };
    Ok(OutputShape { name: output.name.clone(), dimensions, numbers })
}

impl Numeric {
    fn take(&mut self, output: &TensorInfo, slot: &mut Slot<'_>) -> Result<()> {
        let name = output.name.as_str();
        self.f32.clear();
        self.i32.clear();
        self.i64.clear();
        self.element = Some(output.element);
        match output.element {
            ElementType::Float32 => self.f32.extend_from_slice(slot.output(name)?),
            ElementType::Float16 => self.f32.extend(slot.output::<f16>(name)?.iter().map(|value| value.to_f32())),
            ElementType::Int32 => self.i32.extend_from_slice(slot.output(name)?),
            ElementType::Int64 => self.i64.extend_from_slice(slot.output(name)?),
            other => bail!(
                Failure::input(format!("output `{name}` is {other}, which is no part of a detector's answer"))
                    .hint("export the model with outputs in floating point, or 32 or 64-bit integers")
            ),
        }
        Ok(())
    }
}
