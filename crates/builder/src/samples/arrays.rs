//! Inputs from NumPy files: an `.npz` with one array per input, or an `.npy` for a model with one input.
//!
//! An array is either one sample (the input's own shape) or several along its first dimension.

use super::{SampleInput, pack};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use trtforge_graph::Tensor;

pub(super) struct Arrays {
    path: PathBuf,
    arrays: Vec<Array>,
    count: usize,
}

struct Array {
    input: String,
    shape: Vec<u64>,
    values: Vec<f32>,
}

pub(super) fn is_array_file(path: &Path) -> bool {
    matches!(path.extension().and_then(|extension| extension.to_str()), Some("npz" | "npy"))
}

impl Arrays {
    pub(super) fn open(path: &Path, inputs: &[SampleInput]) -> Result<Arrays> {
        let arrays = if path.extension().is_some_and(|extension| extension == "npz") {
            read_npz(path, inputs)?
        } else {
            vec![read_single(path, inputs)?]
        };
        let mut count = usize::MAX;
        for input in inputs {
            let array = arrays.iter().find(|array| array.input == input.name).ok_or_else(|| missing(path, input))?;
            count = count.min(samples_in(array, input).ok_or_else(|| misfit(path, array, input))?);
        }
        Ok(Arrays { path: path.to_owned(), arrays, count })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn sample(&self, inputs: &[SampleInput], index: usize) -> Result<Vec<(String, Tensor)>> {
        inputs
            .iter()
            .map(|input| {
                let array = self
                    .arrays
                    .iter()
                    .find(|array| array.input == input.name)
                    .ok_or_else(|| missing(&self.path, input))?;
                let length = input.shape.iter().product::<u64>() as usize;
                let start = if array.values.len() == length { 0 } else { index * length };
                let values = array.values.get(start..start + length).ok_or_else(|| misfit(&self.path, array, input))?;
                Ok((input.name.clone(), pack(input, values.to_vec())?))
            })
            .collect()
    }
}

fn missing(path: &Path, input: &SampleInput) -> Error {
    Error::Samples(format!("{} has no array named `{}`", path.display(), input.name))
}

fn misfit(path: &Path, array: &Array, input: &SampleInput) -> Error {
    Error::Samples(format!(
        "{}: array `{}` has shape {:?}, the input wants {:?} or several of it along the first dimension",
        path.display(),
        array.input,
        array.shape,
        input.shape
    ))
}

/// How many samples an array holds for an input, or `None` where the shapes do not fit.
fn samples_in(array: &Array, input: &SampleInput) -> Option<usize> {
    if array.shape == input.shape {
        return Some(1);
    }
    let (&rows, rest) = array.shape.split_first()?;
    let (&batch, wanted) = input.shape.split_first()?;
    (rest == wanted && batch > 0 && rows >= batch).then_some((rows / batch) as usize)
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |source| Error::Samples(format!("{} is no readable NumPy file: {source}", path.display()))
}

fn read_npz(path: &Path, inputs: &[SampleInput]) -> Result<Vec<Array>> {
    let file = std::fs::File::open(path).map_err(|source| Error::io(path, source))?;
    let mut archive =
        zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| unreadable(path)(error.into()))?;
    let mut arrays = Vec::new();
    for input in inputs {
        match archive.by_name(&format!("{}.npy", input.name)) {
            Ok(entry) => arrays
                .push(npyz::NpyFile::new(entry).and_then(|npy| decode(&input.name, npy)).map_err(unreadable(path))?),
            Err(zip::result::ZipError::FileNotFound) => {}
            Err(error) => return Err(unreadable(path)(error.into())),
        }
    }
    Ok(arrays)
}

fn read_single(path: &Path, inputs: &[SampleInput]) -> Result<Array> {
    let [input] = inputs else {
        return Err(Error::Samples(format!(
            "{} holds one array and the model has {} inputs; give an .npz",
            path.display(),
            inputs.len()
        )));
    };
    let file = std::fs::File::open(path).map_err(|source| Error::io(path, source))?;
    let npy = npyz::NpyFile::new(std::io::BufReader::new(file)).map_err(unreadable(path))?;
    decode(&input.name, npy).map_err(unreadable(path))
}

fn decode<R: std::io::Read>(name: &str, npy: npyz::NpyFile<R>) -> std::io::Result<Array> {
    if npy.order() != npyz::Order::C {
        return Err(std::io::Error::other("it is in Fortran order"));
    }
    let shape = npy.shape().to_vec();
    let kind = npy.dtype().descr();
    let values = match kind.trim_matches('\'').trim_start_matches(['<', '|', '=']) {
        "f4" => npy.into_vec::<f32>()?,
        "f8" => npy.into_vec::<f64>()?.into_iter().map(|x| x as f32).collect(),
        "u1" => npy.into_vec::<u8>()?.into_iter().map(f32::from).collect(),
        "i1" => npy.into_vec::<i8>()?.into_iter().map(f32::from).collect(),
        "i4" => npy.into_vec::<i32>()?.into_iter().map(|x| x as f32).collect(),
        "i8" => npy.into_vec::<i64>()?.into_iter().map(|x| x as f32).collect(),
        "b1" => npy.into_vec::<bool>()?.into_iter().map(|x| f32::from(u8::from(x))).collect(),
        other => return Err(std::io::Error::other(format!("element type {other} is not supported"))),
    };
    Ok(Array { input: name.to_owned(), shape, values })
}
