//! Sample inputs of a model: photographs, arrays, or seeded synthetic data. One sample at a time; nothing is held.

mod arrays;
mod images;
mod synthetic;

use crate::shapes::ShapeRange;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_graph::{ElementType, Tensor};
use trtforge_vision::Preprocess;

/// Where sample inputs come from.
#[derive(Clone, Debug, Default)]
pub enum SampleSource {
    /// Seeded data made up for the model's inputs.
    #[default]
    Synthetic,
    /// A folder of images, a text file with one image path a line, a single image, an `.npy` or an `.npz`.
    Path(PathBuf),
}

/// A model input that samples must fill.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleInput {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: ElementType,
    /// The shape to fill.
    pub shape: Vec<u64>,
}

/// An opened source of samples.
pub struct Samples {
    inputs: Vec<SampleInput>,
    source: Source,
    count: usize,
    description: String,
}

enum Source {
    Synthetic { preprocess: Preprocess },
    Images { files: Vec<PathBuf>, preprocess: Preprocess },
    Arrays(arrays::Arrays),
}

/// Samples of synthetic data where no count is given.
pub const SYNTHETIC_COUNT: usize = 2;

impl Samples {
    /// Opens a source for a model with `inputs`; at most `count` samples of it are used.
    ///
    /// # Errors
    /// [`Error::Io`] where the source cannot be read; [`Error::Samples`] where it holds nothing usable or does not fit the inputs.
    pub fn open(
        source: &SampleSource,
        count: Option<usize>,
        preprocess: Option<&Preprocess>,
        inputs: Vec<SampleInput>,
    ) -> Result<Samples> {
        let preprocess = preprocess.cloned().unwrap_or_default();
        let mut samples = match source {
            SampleSource::Synthetic => {
                let source = Source::Synthetic { preprocess };
                Samples { inputs, source, count: SYNTHETIC_COUNT, description: "synthetic inputs".into() }
            }
            SampleSource::Path(path) if arrays::is_array_file(path) => {
                let arrays = arrays::Arrays::open(path, &inputs)?;
                let count = arrays.count();
                Samples { inputs, source: Source::Arrays(arrays), count, description: path.display().to_string() }
            }
            SampleSource::Path(path) => Samples::open_images(path, preprocess, inputs)?,
        };
        match (source, count) {
            (SampleSource::Synthetic, Some(count)) => samples.count = count,
            (SampleSource::Path(_), Some(count)) => samples.count = samples.count.min(count),
            (_, None) => {}
        }
        if samples.count == 0 {
            return Err(Error::Samples(format!("{} gives no sample", samples.description)));
        }
        Ok(samples)
    }

    fn open_images(path: &Path, preprocess: Preprocess, inputs: Vec<SampleInput>) -> Result<Samples> {
        let image_input = images::image_input(&inputs, &preprocess)?;
        let files = images::list(path)?;
        let batch = images::batch_of(image_input);
        let count = files.len().div_ceil(batch);
        Ok(Samples {
            source: Source::Images { files, preprocess },
            inputs,
            count,
            description: path.display().to_string(),
        })
    }

    /// Number of samples; one sample fills a whole batch.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never true: a source without samples is refused when it is opened.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the samples are made up rather than the user's.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.source, Source::Synthetic { .. })
    }

    /// Where the samples come from, for a person.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The files behind the samples, in order; empty for synthetic data.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Synthetic { .. } => vec![],
            Source::Images { files, .. } => files.clone(),
            Source::Arrays(arrays) => vec![arrays.path().to_owned()],
        }
    }

    /// Reads sample `index`: one tensor per model input.
    ///
    /// # Errors
    /// [`Error::Image`] or [`Error::Samples`] where the sample cannot be read or does not fit.
    pub fn get(&self, index: usize) -> Result<Vec<(String, Tensor)>> {
        match &self.source {
            Source::Synthetic { preprocess } => self
                .inputs
                .iter()
                .map(|input| Ok((input.name.clone(), synthetic::tensor(input, preprocess, index as u64)?)))
                .collect(),
            Source::Images { files, preprocess } => images::sample(&self.inputs, preprocess, files, index),
            Source::Arrays(arrays) => arrays.sample(&self.inputs, index),
        }
    }
}

/// The inputs to fill, at the `opt` shapes.
pub fn sample_inputs(types: &[(String, ElementType)], shapes: &BTreeMap<String, ShapeRange>) -> Vec<SampleInput> {
    let shape_of = |name: &String| shapes.get(name).map(|range| range.opt.0.clone()).unwrap_or_default();
    types
        .iter()
        .map(|(name, element)| SampleInput { name: name.clone(), element: *element, shape: shape_of(name) })
        .collect()
}

/// Packs numbers into a tensor of the element type an input wants; integers are rounded towards zero.
pub(crate) fn pack(input: &SampleInput, values: Vec<f32>) -> Result<Tensor> {
    use half::{bf16, f16};
    let shape = input.shape.clone();
    let packed = match input.element {
        ElementType::Float32 => Tensor::from_vec(shape, values),
        ElementType::Float16 => Tensor::from_vec(shape, values.into_iter().map(f16::from_f32).collect()),
        ElementType::BFloat16 => Tensor::from_vec(shape, values.into_iter().map(bf16::from_f32).collect()),
        ElementType::Float64 => Tensor::from_vec(shape, values.into_iter().map(f64::from).collect()),
        ElementType::UInt8 => Tensor::from_vec(shape, values.into_iter().map(|x| x as u8).collect()),
        ElementType::Int8 => Tensor::from_vec(shape, values.into_iter().map(|x| x as i8).collect()),
        ElementType::Int32 => Tensor::from_vec(shape, values.into_iter().map(|x| x as i32).collect()),
        ElementType::Int64 => Tensor::from_vec(shape, values.into_iter().map(|x| x as i64).collect()),
        ElementType::Bool => Tensor::new(
            ElementType::Bool,
            shape,
            values.into_iter().map(|x| u8::from(x != 0.0)).collect::<Vec<u8>>().into(),
        ),
        other => {
            return Err(Error::Samples(format!(
                "input `{}` has element type {other}; give it as an array (--calibration FILE.npz)",
                input.name
            )));
        }
    };
    packed.map_err(|error| Error::Samples(format!("input `{}`: {error}", input.name)))
}

/// The files behind a path given as samples, in the order they are used.
///
/// # Errors
/// [`Error::Io`] where a folder or list cannot be read; [`Error::Samples`] where it holds no image.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if arrays::is_array_file(path) { Ok(vec![path.to_owned()]) } else { images::list(path) }
}
