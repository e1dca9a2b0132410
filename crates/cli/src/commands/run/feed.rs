//! What an engine is fed: a shape for every input, settled by flags, config, arrays and the engine itself.

use super::{RunArgs, open_shape};
use crate::failure::Failure;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use trtforge_builder::samples::{SampleInput, Samples};
use trtforge_builder::{Config, SampleSource, ShapeRequest};
use trtforge_graph::ElementType;
use trtforge_runtime::{Declared, Engine, Request, Shape, ShapeRange, Signature, TensorInfo};
use trtforge_vision::{Layout, Preprocess};

/// Inputs with the shapes that they have in every run.
pub struct Feed {
    pub inputs: Vec<SampleInput>,
    source: SampleSource,
    preprocess: Preprocess,
}

/// What is known about shapes beside the engine's own declaration.
struct Known {
    asked: BTreeMap<String, Vec<u64>>,
    arrays: Option<Vec<Vec<u64>>>,
    batch: Option<u64>,
    /// Height, width and channels of the preprocessed image, by axis.
    image: [Option<u64>; 4],
}

impl Feed {
    pub fn new(engine: &Engine, args: &RunArgs, config: Option<Config>) -> Result<Self> {
        let source = args.source()?;
        let signature = engine.signature();
        let preprocess = config.as_ref().and_then(|config| config.preprocess.clone()).unwrap_or_default();
        let names: Vec<&str> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
        let known = Known {
            asked: asked(args, config)?,
            arrays: source.array_shapes(&names)?,
            batch: args.batch.map(u64::from),
            image: if matches!(source, SampleSource::Path(_)) { image_axes(&preprocess) } else { [None; 4] },
        };
        for name in known.asked.keys() {
            signature.index(trtforge_runtime::Direction::Input, name)?;
        }
        let inputs = signature.inputs.iter().enumerate();
        let inputs = inputs.map(|(index, input)| known.input(index, input, range_of_first_profile(signature, index)));
        Ok(Self { inputs: inputs.collect::<Result<_>>()?, source, preprocess })
    }

    /// Opens what `--input` names.
    pub fn open(&self, args: &RunArgs) -> Result<Samples> {
        let count = args.count.map(|count| count as usize);
        let samples = Samples::open(&self.source, count, Some(&self.preprocess), self.inputs.clone())?;
        Ok(samples.with_max_unreadable(args.max_unreadable))
    }

    /// A request for exactly these shapes.
    pub fn request(&self, engine: &Engine, slots: usize) -> Request {
        let signature = engine.signature();
        if !signature.profiles.is_empty() {
            let batch = self.inputs.iter().zip(&signature.inputs).find_map(|(input, declared)| {
                let open = matches!(declared.dimensions.as_ref()?.first()?, Declared::Open(_));
                open.then_some(*input.shape.first()?)
            });
            return Request { batch, slots, ..Request::default() };
        }
        let exact = self.inputs.iter().filter_map(|input| {
            let shape = Shape::new(&input.shape)?;
            Some((input.name.clone(), ShapeRange { min: shape, max: shape }))
        });
        Request { shapes: exact.collect(), slots, ..Request::default() }
    }
}

fn asked(args: &RunArgs, config: Option<Config>) -> Result<BTreeMap<String, Vec<u64>>> {
    let flags = crate::args::shape::ShapeArgs { opt_shape: args.shape.clone(), ..Default::default() };
    let mut request: ShapeRequest = flags.request()?;
    if let Some(config) = config {
        config.shapes.iter().for_each(|(input, entry)| request.add_entry(input, entry));
    }
    Ok(request.ranges().into_iter().map(|(name, range)| (name, range.opt.0)).collect())
}

/// The sizes that a `preprocess` block gives a picture's dimensions.
fn image_axes(preprocess: &Preprocess) -> [Option<u64>; 4] {
    let Some(size) = preprocess.size else { return [None; 4] };
    let (height, width) = (Some(u64::from(size.height)), Some(u64::from(size.width)));
    match preprocess.layout {
        Layout::Nchw => [None, Some(3), height, width],
        Layout::Nhwc => [None, height, width, Some(3)],
    }
}

fn range_of_first_profile(signature: &Signature, index: usize) -> Option<ShapeRange> {
    signature.profiles.first().and_then(|profile| profile.inputs.get(index).copied())
}

impl Known {
    fn input(&self, index: usize, input: &TensorInfo, range: Option<ShapeRange>) -> Result<SampleInput> {
        let array = self.arrays.as_ref().and_then(|arrays| arrays.get(index));
        let shape = match (self.asked.get(&input.name), &input.dimensions) {
            (Some(asked), _) => self.with_batch(asked.clone(), input),
            (None, None) => array.cloned().ok_or_else(|| open_shape(&input.name, "of unknown number"))?,
            (None, Some(dimensions)) => {
                let sizes = dimensions.iter().enumerate().map(|(axis, dimension)| match dimension {
                    Declared::Fixed(size) => Some(*size),
                    Declared::Open(_) => self.open(axis, dimensions.len(), array, range),
                });
                sizes.collect::<Option<_>>().ok_or_else(|| open_shape(&input.name, &input.to_string()))?
            }
        };
        Ok(SampleInput { name: input.name.clone(), element: element(input)?, shape })
    }

    /// A shape from a flag or config, its first dimension as `--batch` says where that is open.
    fn with_batch(&self, mut shape: Vec<u64>, input: &TensorInfo) -> Vec<u64> {
        let open = matches!(input.dimensions.as_ref().and_then(|it| it.first()), Some(Declared::Open(_)));
        if let (true, Some(batch), Some(first)) = (open, self.batch, shape.first_mut()) {
            *first = batch;
        }
        shape
    }

    fn open(&self, axis: usize, rank: usize, array: Option<&Vec<u64>>, range: Option<ShapeRange>) -> Option<u64> {
        let bounds = range.and_then(|range| Some((*range.min.get(axis)?, *range.max.get(axis)?)));
        let from_array = array.filter(|shape| shape.len() == rank).map(|shape| shape[axis]).filter(|size| *size > 0);
        if axis > 0 {
            let picture = if rank == 4 { self.image[axis] } else { None };
            return from_array.or(picture).or(bounds.filter(|(min, max)| min == max).map(|(only, _)| only));
        }
        match (self.batch, bounds) {
            (Some(batch), _) => Some(batch),
            (None, Some((min, max))) => Some(from_array.unwrap_or(1).clamp(min, max)),
            (None, None) => Some(from_array.unwrap_or(1)),
        }
    }
}

fn element(input: &TensorInfo) -> Result<ElementType> {
    use trtforge_runtime::ElementType as Runtime;
    Ok(match input.element {
        Runtime::Float32 => ElementType::Float32,
        Runtime::Float16 => ElementType::Float16,
        Runtime::Int8 => ElementType::Int8,
        Runtime::UInt8 => ElementType::UInt8,
        Runtime::Int32 => ElementType::Int32,
        Runtime::Int64 => ElementType::Int64,
        Runtime::Bool => ElementType::Bool,
        other => bail!(Failure::input(format!("input `{}` is {other}, which no file here holds", input.name))),
    })
}
