//! Sample inputs of a model: photographs, arrays, or seeded synthetic data. One batch at a time; nothing is held.
//!
//! A *row* is one image, or one entry along the first dimension of the arrays; a batch is as many rows as the model's input takes. Where the rows run out, or some
//! of the images cannot be read, the batch is filled up with a repetition and [`Batch::rows`] says how many rows are real.

mod arrays;
mod images;
mod synthetic;
mod unreadable;

pub use unreadable::{Unreadable, UnreadableTally, default_limit};

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
    /// An `.npy` or `.npz` for each input, by the input's name.
    Named(BTreeMap<String, PathBuf>),
}

impl SampleSource {
    /// The shapes of the arrays behind it, in the order of `inputs`; nothing where there are none.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Samples`] where an array cannot be read, [`Error::Usage`] where an input has none.
    pub fn array_shapes(&self, inputs: &[&str]) -> Result<Option<Vec<Vec<u64>>>> {
        let shapes = |arrays: Vec<arrays::Array>| Some(arrays.into_iter().map(|array| array.shape).collect());
        Ok(self.arrays(inputs)?.and_then(shapes))
    }

    fn arrays(&self, inputs: &[&str]) -> Result<Option<Vec<arrays::Array>>> {
        match self {
            SampleSource::Path(path) if arrays::is_array_file(path) => arrays::find(path, inputs).map(Some),
            SampleSource::Named(files) => arrays::find_each(files, inputs).map(Some),
            SampleSource::Synthetic | SampleSource::Path(_) => Ok(None),
        }
    }
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

/// The inputs of one run.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One tensor per model input; none where no row of the batch could be read.
    pub inputs: Vec<(String, Tensor)>,
    /// How many leading rows are samples; the rest repeats the last of them.
    pub rows: usize,
    /// The images of this batch that could not be read.
    pub unreadable: Vec<Unreadable>,
}

/// An opened source of samples.
pub struct Samples {
    inputs: Vec<SampleInput>,
    source: Source,
    rows: usize,
    batch: usize,
    description: String,
    max_unreadable: Option<usize>,
}

enum Source {
    Synthetic { preprocess: Preprocess },
    Images { files: Vec<PathBuf>, preprocess: Preprocess },
    Arrays(arrays::Arrays),
}

/// Batches of synthetic data where no count is given.
pub const SYNTHETIC_COUNT: usize = 2;

impl Samples {
    /// Opens a source for a model with `inputs`; at most `count` rows of it are used (of synthetic data: exactly `count` batches).
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
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let mut samples = match (source, source.arrays(&names)?) {
            (SampleSource::Synthetic, _) => {
                let (source, rows) = (Source::Synthetic { preprocess }, count.unwrap_or(SYNTHETIC_COUNT));
                Samples::new(inputs, source, rows, 1, "synthetic inputs".into())
            }
            (_, Some(arrays)) => Samples::of_arrays(arrays, inputs)?,
            (SampleSource::Path(path), None) => Samples::open_images(path, preprocess, inputs)?,
            (SampleSource::Named(_), None) => return Err(Error::Samples("no array is given".into())),
        };
        samples.rows = samples.rows.min(count.unwrap_or(usize::MAX));
        if samples.rows == 0 {
            return Err(Error::Samples(format!("{} gives no sample", samples.description)));
        }
        Ok(samples)
    }

    fn of_arrays(arrays: Vec<arrays::Array>, inputs: Vec<SampleInput>) -> Result<Samples> {
        let arrays = arrays::Arrays::new(arrays, &inputs)?;
        let (rows, batch) = (arrays.rows(), arrays.batch());
        let paths: Vec<String> = arrays.paths().iter().map(|path| path.display().to_string()).collect();
        Ok(Samples::new(inputs, Source::Arrays(arrays), rows, batch, paths.join(", ")))
    }

    fn open_images(path: &Path, preprocess: Preprocess, inputs: Vec<SampleInput>) -> Result<Samples> {
        let batch = images::batch_of(images::image_input(&inputs, &preprocess)?);
        let files = images::list(path)?;
        let rows = files.len();
        let source = Source::Images { files, preprocess };
        Ok(Samples::new(inputs, source, rows, batch, path.display().to_string()))
    }

    fn new(inputs: Vec<SampleInput>, source: Source, rows: usize, batch: usize, description: String) -> Samples {
        Samples { inputs, source, rows, batch, description, max_unreadable: None }
    }

    /// Allows another number of unreadable images than [`default_limit`].
    pub fn with_max_unreadable(self, max_unreadable: Option<usize>) -> Samples {
        Samples { max_unreadable, ..self }
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.rows.div_ceil(self.batch)
    }

    /// Never true: a source without samples is refused when it is opened.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Up to `wanted` batches, evenly spread over all.
    pub fn spread(&self, wanted: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.len();
        let wanted = wanted.min(count);
        (0..wanted).map(move |position| position * count / wanted)
    }

    /// Number of rows: images, or entries of arrays.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Rows of batch `index`, readable or not.
    pub fn rows_of(&self, index: usize) -> usize {
        self.rows.saturating_sub(index * self.batch).min(self.batch)
    }

    /// What a row is called, in the plural.
    pub fn unit(&self) -> &'static str {
        if matches!(self.source, Source::Images { .. }) { "images" } else { "samples" }
    }

    /// A name for batch `index`, for messages: the image's file, or its place.
    pub fn name(&self, index: usize) -> String {
        match &self.source {
            Source::Images { files, .. } if self.batch == 1 => files[index].display().to_string(),
            Source::Images { files, .. } => {
                let first = index * self.batch;
                format!("one of the {} images from {} on", self.rows_of(index), files[first].display())
            }
            _ => format!("sample {} of {}", index * self.batch, self.description),
        }
    }

    /// A tally for the unreadable images of this source.
    pub fn tally(&self) -> UnreadableTally {
        UnreadableTally::new(self.rows, self.max_unreadable)
    }

    /// Whether the samples are made up rather than the user's.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.source, Source::Synthetic { .. })
    }

    /// Where the samples come from, for a person.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The files behind the samples that are used, in order; none for synthetic data.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Synthetic { .. } => vec![],
            Source::Images { files, .. } => files[..self.rows].to_vec(),
            Source::Arrays(arrays) => arrays.paths(),
        }
    }

    /// Inputs whose arrays hold another element type than the input wants: name, the array's type, the input's.
    pub fn conversions(&self) -> Vec<(String, ElementType, ElementType)> {
        match &self.source {
            Source::Arrays(arrays) => arrays.conversions(&self.inputs),
            Source::Synthetic { .. } | Source::Images { .. } => vec![],
        }
    }

    /// Reads batch `index`. Images that cannot be read are no error here: the caller counts them with [`Samples::tally`].
    ///
    /// # Errors
    /// [`Error::Samples`] where arrays cannot be read or do not fit; [`Error::Image`] where the `preprocess` settings are no use.
    pub fn get(&self, index: usize) -> Result<Batch> {
        let (first, rows) = (index * self.batch, self.rows_of(index));
        match &self.source {
            Source::Synthetic { preprocess } => {
                let tensor = |input| synthetic::tensor(input, preprocess, index as u64);
                let tensors = self.inputs.iter().map(|input| Ok((input.name.clone(), tensor(input)?)));
                Ok(Batch { inputs: tensors.collect::<Result<_>>()?, rows, unreadable: vec![] })
            }
            Source::Images { files, preprocess } => images::batch_at(&self.inputs, preprocess, files, first, rows),
            Source::Arrays(arrays) => arrays.batch_at(&self.inputs, first, rows),
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
    match input.element {
        ElementType::Float32 => Tensor::from_vec(input.shape.clone(), values).map_err(|error| unpacked(input, &error)),
        _ => pack_wide(input, values.into_iter().map(f64::from)),
    }
}

/// As [`pack`], from numbers that may need all bits of a double.
fn pack_wide(input: &SampleInput, values: impl Iterator<Item = f64>) -> Result<Tensor> {
    use half::{bf16, f16};
    let shape = input.shape.clone();
    let packed = match input.element {
        ElementType::Float32 => Tensor::from_vec(shape, values.map(|x| x as f32).collect()),
        ElementType::Float16 => Tensor::from_vec(shape, values.map(f16::from_f64).collect()),
        ElementType::BFloat16 => Tensor::from_vec(shape, values.map(bf16::from_f64).collect()),
        ElementType::Float64 => Tensor::from_vec(shape, values.collect()),
        ElementType::UInt8 => Tensor::from_vec(shape, values.map(|x| x as u8).collect()),
        ElementType::Int8 => Tensor::from_vec(shape, values.map(|x| x as i8).collect()),
        ElementType::Int32 => Tensor::from_vec(shape, values.map(|x| x as i32).collect()),
        ElementType::Int64 => Tensor::from_vec(shape, values.map(|x| x as i64).collect()),
        ElementType::Bool => {
            Tensor::new(ElementType::Bool, shape, values.map(|x| u8::from(x != 0.0)).collect::<Vec<u8>>().into())
        }
        other => {
            return Err(Error::Samples(format!(
                "input `{}` has element type {other}; give it as an array (--calibration FILE.npz)",
                input.name
            )));
        }
    };
    packed.map_err(|error| unpacked(input, &error))
}

fn unpacked(input: &SampleInput, error: &trtforge_graph::Error) -> Error {
    Error::Samples(format!("input `{}`: {error}", input.name))
}

/// The files behind a path given as samples, in the order they are used.
///
/// # Errors
/// [`Error::Io`] where a folder or list cannot be read; [`Error::Samples`] where it holds no image.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if arrays::is_array_file(path) { Ok(vec![path.to_owned()]) } else { images::list(path) }
}
