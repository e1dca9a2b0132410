//! From what is asked and what an engine takes to shapes and bytes. Pure: nothing is allocated here.

use super::{Declared, Direction, Request, ShapeRange, Signature, TensorInfo};
use crate::error::{Error, Result};
use crate::shape::Shape;

/// Shapes and buffer sizes of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Shapes that runs may have, with the number that the engine gives each profile.
    pub(crate) profiles: Vec<(usize, Vec<ShapeRange>)>,
    /// Bytes of each input's buffer.
    pub(crate) input_bytes: Vec<u64>,
    /// Bytes of each output's buffer; nothing where only a run tells.
    pub(crate) output_bytes: Vec<Option<u64>>,
}

/// Most slots of a session.
const MOST_SLOTS: usize = 1024;

impl Layout {
    /// `output_shapes` tells the shapes of outputs for those of inputs; an output whose shape it does not know is nothing.
    pub(crate) fn new(
        signature: &Signature,
        request: &Request,
        mut output_shapes: impl FnMut(usize, &[Shape], &mut [Option<Shape>]) -> Result<()>,
    ) -> Result<Self> {
        check_numbers(request)?;
        for name in request.shapes.keys() {
            signature.index(Direction::Input, name)?;
        }
        let profiles = profiles(signature, request)?;
        let mut input_bytes = vec![0; signature.inputs.len()];
        let mut output_bytes = vec![Some(0); signature.outputs.len()];
        let mut outputs = vec![None; signature.outputs.len()];
        for (number, ranges) in &profiles {
            let shapes: Vec<Shape> = ranges.iter().map(|range| range.max).collect();
            for ((most, tensor), shape) in input_bytes.iter_mut().zip(&signature.inputs).zip(&shapes) {
                *most = bytes(tensor, shape)?.max(*most);
            }
            output_shapes(*number, &shapes, &mut outputs)?;
            for ((most, tensor), shape) in output_bytes.iter_mut().zip(&signature.outputs).zip(&outputs) {
                *most = match (*most, shape) {
                    (Some(most), Some(shape)) => Some(bytes(tensor, shape)?.max(most)),
                    _ => None,
                };
            }
        }
        Ok(Self { profiles, input_bytes, output_bytes })
    }

    /// Bytes of all inputs.
    pub(crate) fn inputs_total(&self) -> u64 {
        self.input_bytes.iter().sum()
    }

    /// Bytes of all outputs whose size is known.
    pub(crate) fn outputs_total(&self) -> u64 {
        self.output_bytes.iter().flatten().sum()
    }

    /// The first profile that takes these shapes, by its place here.
    pub(crate) fn profile_for(&self, shapes: &[Shape]) -> Option<usize> {
        let takes = |ranges: &[ShapeRange]| ranges.iter().zip(shapes).all(|(range, shape)| range.contains(shape));
        self.profiles.iter().position(|(_, ranges)| takes(ranges))
    }

    /// Ranges of all inputs in the first profile.
    pub(crate) fn ranges_of_first(&self) -> &[ShapeRange] {
        self.profiles.first().map_or(&[], |(_, ranges)| ranges)
    }

    /// Ranges of one input, one per profile.
    pub(crate) fn ranges_of(&self, input: usize) -> Vec<ShapeRange> {
        self.profiles.iter().map(|(_, ranges)| ranges[input]).collect()
    }
}

fn check_numbers(request: &Request) -> Result<()> {
    let wrong = |what, value, reason| Err(Error::Request { what, value, reason });
    match request {
        Request { batch: Some(0), .. } => wrong("batch", 0, "a run has at least one"),
        Request { slots: 0, .. } => wrong("slots", 0, "a session has at least one"),
        Request { slots, .. } if *slots > MOST_SLOTS => wrong("slots", *slots as u64, "a session has at most 1024"),
        _ => Ok(()),
    }
}

fn bytes(tensor: &TensorInfo, shape: &Shape) -> Result<u64> {
    let reason = "its tensors are larger than any memory";
    tensor.bytes_at(shape).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(|| Error::Request {
        what: "shape",
        value: shape.iter().copied().max().unwrap_or(0),
        reason,
    })
}

fn profiles(signature: &Signature, request: &Request) -> Result<Vec<(usize, Vec<ShapeRange>)>> {
    if signature.profiles.is_empty() {
        let ranges = signature.inputs.iter().map(|input| declared_range(input, request)).collect::<Result<_>>()?;
        return Ok(vec![(0, ranges)]);
    }
    let wanted = |number: usize| request.profile.is_none_or(|only| only == number);
    let numbered = signature.profiles.iter().enumerate().filter(|(number, _)| wanted(*number));
    let profiles: Vec<_> =
        numbered.filter_map(|(number, profile)| Some((number, up_to_batch(&profile.inputs, request.batch)?))).collect();
    if !profiles.is_empty() {
        return Ok(profiles);
    }
    if let Some(profile) = request.profile.filter(|profile| *profile >= signature.profiles.len()) {
        let reason = "the engine has fewer profiles";
        return Err(Error::Request { what: "profile", value: profile as u64, reason });
    }
    Err(batch_outside(signature, request))
}

/// The ranges with batches of at most `batch`; nothing where the profile takes no such batch.
fn up_to_batch(ranges: &[ShapeRange], batch: Option<u64>) -> Option<Vec<ShapeRange>> {
    let Some(batch) = batch else { return Some(ranges.to_vec()) };
    let limited = |range: &ShapeRange| {
        let (Some(&min), Some(&max)) = (range.min.first(), range.max.first()) else { return Some(*range) };
        // An input whose first dimension never changes, such as a table beside the pictures, has no batch.
        let fixed_beside_a_batch = min == max && ranges.iter().any(|it| it.min.first() != it.max.first());
        let fits = (min..=max).contains(&batch) || fixed_beside_a_batch;
        let max = if fixed_beside_a_batch { range.max } else { range.max.with_batch(batch) };
        fits.then_some(ShapeRange { min: range.min, max })
    };
    ranges.iter().map(limited).collect()
}

fn batch_outside(signature: &Signature, request: &Request) -> Error {
    let batch = request.batch.unwrap_or(1);
    let input = signature.profiles.first().and_then(|profile| profile.inputs.first());
    let asked = Box::new(input.map(|range| range.max.with_batch(batch)).unwrap_or_default());
    let name = signature.inputs.first().map(|input| input.name.clone()).unwrap_or_default();
    let ranges = signature.profiles.iter().filter_map(|profile| profile.inputs.first().copied()).collect();
    Error::OutsideProfiles { name, asked, ranges }
}

/// The range of an input of an engine that takes whatever its declaration allows.
fn declared_range(input: &TensorInfo, request: &Request) -> Result<ShapeRange> {
    let open = || Error::OpenShape { name: input.name.clone(), declared: input.to_string() };
    let dimensions = input.dimensions.as_ref().ok_or_else(open)?;
    if let Some(range) = request.shapes.get(&input.name) {
        return agrees(input, dimensions, range).map(|()| *range);
    }
    let (mut min, mut max) = (vec![0; dimensions.len()], vec![0; dimensions.len()]);
    for (axis, dimension) in dimensions.iter().enumerate() {
        (min[axis], max[axis]) = match dimension {
            Declared::Fixed(size) => (*size, *size),
            Declared::Open(_) if axis == 0 => (1, request.batch.unwrap_or(1)),
            Declared::Open(_) => return Err(open()),
        };
    }
    let range = Shape::new(&min).zip(Shape::new(&max)).map(|(min, max)| ShapeRange { min, max }).ok_or_else(open)?;
    match (dimensions.first(), request.batch) {
        (Some(Declared::Fixed(size)), Some(batch)) if *size != batch && batch > 1 => Err(Error::OutsideProfiles {
            name: input.name.clone(),
            asked: Box::new(range.max.with_batch(batch)),
            ranges: vec![range],
        }),
        _ => Ok(range),
    }
}

/// That a range asked for lies within what the model fixes.
fn agrees(input: &TensorInfo, dimensions: &[Declared], range: &ShapeRange) -> Result<()> {
    let mut sizes = dimensions.iter().zip(range.min.iter().zip(range.max.iter()));
    let fits = |(dimension, (min, max)): (&Declared, (&u64, &u64))| match dimension {
        Declared::Fixed(size) => size == min && size == max,
        Declared::Open(_) => min <= max,
    };
    if range.min.len() == dimensions.len() && range.max.len() == dimensions.len() && sizes.all(fits) {
        return Ok(());
    }
    let of = |asked: &Shape, pick: fn(u64) -> u64| {
        let sizes: Vec<u64> = dimensions
            .iter()
            .enumerate()
            .map(|(axis, dimension)| match dimension {
                Declared::Fixed(size) => *size,
                Declared::Open(_) => pick(asked.get(axis).copied().unwrap_or(1)),
            })
            .collect();
        Shape::new(&sizes).unwrap_or_default()
    };
    let allowed = ShapeRange { min: of(&range.min, |_| 1), max: of(&range.max, |size| size) };
    Err(Error::OutsideProfiles { name: input.name.clone(), asked: Box::new(range.max), ranges: vec![allowed] })
}

/// Shapes of outputs from the names that their open dimensions share with those of inputs.
pub(crate) fn shapes_by_name(signature: &Signature, inputs: &[Shape], outputs: &mut [Option<Shape>]) {
    for (output, shape) in signature.outputs.iter().zip(outputs) {
        *shape = shape_by_name(signature, output, inputs);
    }
}

/// The shape of a tensor from the names that its open dimensions share with those of the inputs.
pub(crate) fn shape_by_name(signature: &Signature, output: &TensorInfo, inputs: &[Shape]) -> Option<Shape> {
    let dimensions = output.dimensions.as_ref()?;
    let mut shape = Shape::new(&[0; crate::MAX_RANK][..dimensions.len().min(crate::MAX_RANK)])?;
    if dimensions.len() > shape.len() {
        return None;
    }
    for (axis, dimension) in dimensions.iter().enumerate() {
        let size = match dimension {
            Declared::Fixed(size) => *size,
            Declared::Open(name) => size_of(signature, name, inputs)?,
        };
        shape.set(axis, size);
    }
    Some(shape)
}

/// The size of the inputs' dimension of that name.
fn size_of(signature: &Signature, name: &str, inputs: &[Shape]) -> Option<u64> {
    let named = |dimension: &Declared| matches!(dimension, Declared::Open(it) if it == name && !name.is_empty());
    signature.inputs.iter().zip(inputs).find_map(|(input, shape)| {
        let axis = input.dimensions.as_ref()?.iter().position(named)?;
        shape.get(axis).copied()
    })
}
