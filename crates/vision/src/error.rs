//! What can be wrong with an image or with what is asked of it.

use std::io;
use std::path::PathBuf;

use crate::decoder::{DecoderKind, OutputShape};
use crate::size::Size;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("image {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("image {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is of none of the known formats.
    #[error("{} is not an image in a known format (JPEG, PNG, BMP, WebP, TIFF, GIF)", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before its image does.
    #[error("image {} is cut short", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged, or uses a part of its format that is not supported.
    #[error("image {} cannot be decoded", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        #[source]
        source: image::ImageError,
    },
    /// An image cannot be put into a file's format.
    #[error("image {} cannot be encoded", path.display())]
    Encode {
        /// The file it is for.
        path: PathBuf,
        /// The encoder's reason.
        #[source]
        source: image::ImageError,
    },
    /// The image is larger than this program takes.
    #[error("image {} has {width}x{height} pixels; at most {limit} are taken", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What is allowed, in words.
        limit: String,
    },
    /// The file is larger than this program takes.
    #[error("image {} has {bytes} bytes; at most {limit_bytes} are taken", path.display())]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// Size of the file.
        bytes: u64,
        /// Largest size taken.
        limit_bytes: u64,
    },
    /// An image without pixels was given.
    #[error("the image has no pixels")]
    NoPixels,
    /// A size is not a width and a height.
    #[error("{text:?} is not a size: write WIDTHxHEIGHT, such as 640x480, each from 1 to {limit}")]
    BadSize {
        /// The text given.
        text: String,
        /// Largest width and height.
        limit: u32,
    },
    /// A setting cannot be computed with.
    #[error("preprocess.{key}: {reason}")]
    BadSetting {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The memory given for the tensor is of another size.
    #[error("the tensor has {expected} elements, but there is room for {actual}")]
    TensorLength {
        /// Elements of the tensor.
        expected: usize,
        /// Elements of the memory given.
        actual: usize,
    },
    /// The annotation file cannot be read.
    #[error("annotations {} cannot be read", path.display())]
    ReadAnnotations {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The annotation file is not in COCO's form.
    #[error("{} holds no annotations in COCO's form", path.display())]
    Annotations {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        #[source]
        source: serde_json::Error,
    },
    /// The list of classes cannot be read.
    #[error("class names {} cannot be read", path.display())]
    ReadClasses {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The list of classes has none.
    #[error("{} names no class", path.display())]
    NoClasses {
        /// The file.
        path: PathBuf,
    },
    /// No decoder has that name.
    #[error("there is no decoder {name:?}")]
    UnknownDecoder {
        /// The name given.
        name: String,
    },
    /// No decoder reads such outputs.
    #[error("no decoder fits the outputs {}, at an input of {input}", listed(outputs))]
    NoDecoder {
        /// The network's outputs.
        outputs: Vec<OutputShape>,
        /// Size of the network's input.
        input: Size,
    },
    /// More than one decoder reads such outputs, and they would give other boxes.
    #[error("the outputs {} fit {} alike, at an input of {input}", listed(outputs), alternatives(kinds))]
    SeveralDecoders {
        /// The decoders that fit.
        kinds: Vec<DecoderKind>,
        /// The network's outputs.
        outputs: Vec<OutputShape>,
        /// Size of the network's input.
        input: Size,
    },
    /// The decoder that was named does not read such outputs.
    #[error("decoder {kind} does not fit the outputs {}, at an input of {input}: it reads {}", listed(outputs), kind.contract())]
    DecoderUnfit {
        /// The decoder named.
        kind: DecoderKind,
        /// The network's outputs.
        outputs: Vec<OutputShape>,
        /// Size of the network's input.
        input: Size,
    },
    /// A run gave outputs of another size than the decoder was chosen by.
    #[error("a batch of {batch} gave outputs of {actual:?} numbers; the decoder was chosen for {}", listed(expected))]
    OutputChanged {
        /// The outputs as they were.
        expected: Vec<OutputShape>,
        /// Images in the batch.
        batch: usize,
        /// Numbers in each output.
        actual: Vec<usize>,
    },
}

/// Outputs one after the other.
fn listed(outputs: &[OutputShape]) -> String {
    outputs.iter().map(OutputShape::to_string).collect::<Vec<_>>().join(", ")
}

/// `a and b`, `a, b and c`.
fn alternatives(kinds: &[DecoderKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// Every decoder with what it reads, a line each.
fn decoders(kinds: &[DecoderKind]) -> String {
    let width = kinds.iter().map(|kind| kind.name().len()).max().unwrap_or(0);
    let line = |kind: &DecoderKind| format!("\n{:width$}  {}", kind.name(), kind.contract());
    kinds.iter().map(line).collect()
}

impl Error {
    /// What is wrong with an annotation file: its form, or that it could not be read to its end.
    pub(crate) fn annotations(path: &std::path::Path, source: serde_json::Error) -> Self {
        let path = path.to_owned();
        match source.is_io() {
            true => Self::ReadAnnotations { path, source: source.into() },
            false => Self::Annotations { path, source },
        }
    }

    /// What the user can do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Error::Empty { .. } | Error::Truncated { .. } | Error::Decode { .. } => {
                "the file was probably not copied completely; fetch it again, or leave it out"
            }
            Error::ReadAnnotations { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Error::Annotations { .. } => {
                "it must be one JSON object with the lists `images`, `annotations` and `categories`, such as COCO's \
                 instances_val2017.json"
            }
            Error::ReadClasses { .. } | Error::NoClasses { .. } => {
                "write `coco`, or name a text file with one class a line"
            }
            Error::UnknownFormat { .. } => "convert the image to JPEG or PNG",
            Error::TooLarge { .. } | Error::TooManyBytes { .. } => "cut the image into tiles or scale it down first",
            Error::UnknownDecoder { .. } => return Some(format!("known are{}", decoders(&DecoderKind::ALL))),
            Error::NoDecoder { .. } => {
                let known = decoders(&DecoderKind::ALL);
                return Some(format!(
                    "export the network with outputs that one of these reads, or name the one to use with --decoder{known}"
                ));
            }
            Error::SeveralDecoders { kinds, .. } => {
                let known = decoders(kinds);
                return Some(format!("say which it is with --decoder or `detector: {{decoder: ...}}`{known}"));
            }
            Error::DecoderUnfit { .. } => "leave the decoder out to have it chosen, or export the network otherwise",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
