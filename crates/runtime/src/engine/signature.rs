//! What an engine takes and gives: names, element types, shapes and the ranges they may have.

use std::collections::BTreeMap;
use std::fmt;

use crate::element::ElementType;
use crate::error::{Error, Result};
use crate::shape::Shape;

/// Input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Goes in.
    Input,
    /// Comes out.
    Output,
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
        })
    }
}

/// The order in which elements lie in memory, by TensorRT's name for it, of tensors where it is not row-major.
pub(crate) type Formats = BTreeMap<String, String>;

/// A size as an engine declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// Always this.
    Fixed(u64),
    /// Open; equal wherever the same name stands. An empty name stands for itself alone.
    Open(String),
}

/// An input or output as an engine declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: ElementType,
    /// Its dimensions; nothing where not even their number is known.
    pub dimensions: Option<Vec<Declared>>,
}

impl TensorInfo {
    /// A tensor of a shape that is always the same.
    #[must_use]
    pub fn fixed(name: &str, element: ElementType, shape: &[u64]) -> Self {
        let dimensions = Some(shape.iter().map(|&size| Declared::Fixed(size)).collect());
        Self { name: name.to_owned(), element, dimensions }
    }

    /// A tensor whose first dimension, the batch, is open, and whose other dimensions are `rest`.
    #[must_use]
    pub fn batched(name: &str, element: ElementType, rest: &[u64]) -> Self {
        let batch = std::iter::once(Declared::Open("batch".to_owned()));
        let dimensions = Some(batch.chain(rest.iter().map(|&size| Declared::Fixed(size))).collect());
        Self { name: name.to_owned(), element, dimensions }
    }

    /// The shape, where all of it is fixed.
    #[must_use]
    pub fn fixed_shape(&self) -> Option<Shape> {
        let sizes: Option<Vec<u64>> = self.dimensions.as_ref()?.iter().map(fixed_size).collect();
        Shape::new(&sizes?)
    }

    /// Bytes of it at `shape`; nothing where that does not fit 64 bits.
    #[must_use]
    pub fn bytes_at(&self, shape: &Shape) -> Option<u64> {
        shape.elements()?.checked_mul(self.element.bytes())
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dimensions) = &self.dimensions else { return write!(out, "{} of any shape", self.element) };
        write!(out, "{} [", self.element)?;
        for (axis, dimension) in dimensions.iter().enumerate() {
            let lead = if axis == 0 { "" } else { "x" };
            match dimension {
                Declared::Fixed(size) => write!(out, "{lead}{size}")?,
                Declared::Open(name) if name.is_empty() => write!(out, "{lead}?")?,
                Declared::Open(name) => write!(out, "{lead}{name}")?,
            }
        }
        out.write_str("]")
    }
}

fn fixed_size(dimension: &Declared) -> Option<u64> {
    match dimension {
        Declared::Fixed(size) => Some(*size),
        Declared::Open(_) => None,
    }
}

/// Smallest and largest shape of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShapeRange {
    /// Smallest, in every dimension.
    pub min: Shape,
    /// Largest, in every dimension.
    pub max: Shape,
}

impl ShapeRange {
    /// Whether `shape` lies in it.
    #[must_use]
    pub fn contains(&self, shape: &Shape) -> bool {
        shape.within(&self.min, &self.max)
    }
}

impl fmt::Display for ShapeRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(out, "{}", self.min) } else { write!(out, "{} to {}", self.min, self.max) }
    }
}

/// Shapes of all inputs, in the signature's order, that an engine was tuned for together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// A range per input.
    pub inputs: Vec<ShapeRange>,
}

/// What an engine takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// Inputs, in the engine's order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in the engine's order.
    pub outputs: Vec<TensorInfo>,
    /// Shapes that inputs may have. None stands for whatever the declared dimensions allow.
    pub profiles: Vec<Profile>,
}

impl Signature {
    /// Tensors of one direction.
    #[must_use]
    pub fn tensors(&self, direction: Direction) -> &[TensorInfo] {
        match direction {
            Direction::Input => &self.inputs,
            Direction::Output => &self.outputs,
        }
    }

    /// Number of the tensor of that name.
    ///
    /// # Errors
    /// [`Error::UnknownTensor`] with the names there are.
    pub fn index(&self, direction: Direction, name: &str) -> Result<usize> {
        let tensors = self.tensors(direction);
        let found = tensors.iter().position(|tensor| tensor.name == name);
        found.ok_or_else(|| {
            let available = tensors.iter().map(|tensor| tensor.name.clone()).collect();
            Error::UnknownTensor { direction, name: name.to_owned(), available }
        })
    }
}
