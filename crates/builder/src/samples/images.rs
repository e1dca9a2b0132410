//! Photographs as model inputs, through the one `preprocess` block.

use super::{Batch, SampleInput, Unreadable, pack};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use trtforge_graph::ElementType;
use trtforge_vision::{IMAGE_EXTENSIONS, Input, Layout, Preprocess, images_in, images_listed, is_image, read_image};

/// What an input asks of an image: four dimensions, one or three channels, a numeric type.
pub(super) fn image_layout(input: &SampleInput, preprocess: &Preprocess) -> Option<Input> {
    let &[_, a, b, c] = input.shape.as_slice() else { return None };
    let (channels, height, width) = match preprocess.layout {
        Layout::Nchw => (a, b, c),
        Layout::Nhwc => (c, a, b),
    };
    let numeric = input.element.is_float() || input.element == ElementType::UInt8;
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    match channels {
        3 if numeric => Some(Input::rgb(width, height)),
        1 if numeric => Some(Input::grey(width, height)),
        _ => None,
    }
}

/// The one input that takes the image.
pub(super) fn image_input<'a>(inputs: &'a [SampleInput], preprocess: &Preprocess) -> Result<&'a SampleInput> {
    let mut candidates = inputs.iter().filter(|input| image_layout(input, preprocess).is_some());
    match (candidates.next(), candidates.next(), inputs.len()) {
        (Some(input), None, 1) => Ok(input),
        (None, ..) => Err(Error::Samples(
            "the model has no image input (four dimensions with 1 or 3 channels); give its inputs as FILE.npz".into(),
        )),
        _ => Err(Error::Samples("the model has several inputs; give them as FILE.npz with one array per input".into())),
    }
}

/// Images in one sample.
pub(super) fn batch_of(input: &SampleInput) -> usize {
    (input.shape[0] as usize).max(1)
}

/// The images behind a path: the files of a folder in name order, the lines of a text file, or the file itself.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let files = if path.is_dir() {
        images_in(path).map_err(|source| Error::io(path, source))?
    } else if is_image(path) {
        vec![path.to_owned()]
    } else {
        let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
        images_listed(&text, path.parent().unwrap_or(Path::new("")))
    };
    if files.is_empty() {
        return Err(Error::NoImages { path: path.to_owned(), extensions: IMAGE_EXTENSIONS.join(", ") });
    }
    Ok(files)
}

/// The batch of the images from `first` on, at most `rows` of them. Unreadable ones are left out and reported; the batch is filled up with its last image.
pub(super) fn batch_at(
    inputs: &[SampleInput],
    preprocess: &Preprocess,
    files: &[PathBuf],
    first: usize,
    rows: usize,
) -> Result<Batch> {
    let input = image_input(inputs, preprocess)?;
    let layout = image_layout(input, preprocess)
        .ok_or_else(|| Error::Samples(format!("input `{}` takes no image", input.name)))?;
    let batch = batch_of(input);
    let row = input.shape[1..].iter().product::<u64>() as usize;
    let mut values = Vec::with_capacity(batch * row);
    let mut unreadable = Vec::new();
    for (index, path) in files.iter().enumerate().skip(first).take(rows.min(batch)) {
        match read_image(path).and_then(|image| preprocess.tensor(&image, layout)) {
            Ok(tensor) => values.extend(tensor),
            Err(error) if is_setting(&error) => return Err(Error::Image { path: path.clone(), source: error }),
            Err(error) => {
                unreadable.push(Unreadable { index, file: path.display().to_string(), reason: reason(path, &error) })
            }
        }
    }
    let rows = values.len() / row;
    if rows == 0 {
        return Ok(Batch { inputs: vec![], rows, unreadable });
    }
    for _ in rows..batch {
        values.extend_from_within((rows - 1) * row..rows * row);
    }
    Ok(Batch { inputs: vec![(input.name.clone(), pack(input, values)?)], rows, unreadable })
}

/// Whether an error says that the settings are wrong, not the image.
fn is_setting(error: &trtforge_vision::Error) -> bool {
    use trtforge_vision::Error as E;
    matches!(error, E::BadSetting { .. } | E::BadSize { .. } | E::TensorLength { .. })
}

/// An error and its causes in one line, without the path that its message begins with.
fn reason(path: &Path, error: &trtforge_vision::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    let path = format!("{} ", path.display());
    let shorter = text.strip_prefix("image ").unwrap_or(&text).strip_prefix(&path).map(str::to_owned);
    shorter.unwrap_or(text)
}
