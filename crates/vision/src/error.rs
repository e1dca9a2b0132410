//! What can be wrong with an image or with what is asked of it.

use std::io;
use std::path::PathBuf;

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
    #[error("{} is not an image in a known format (JPEG, PNG, BMP, WebP, TIFF)", path.display())]
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
    /// Resizing failed.
    #[error("the image cannot be resized to {width}x{height}: {reason}")]
    Resize {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
        /// The library's reason.
        reason: String,
    },
}

impl Error {
    /// What the user can do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Error::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Error::Empty { .. } | Error::Truncated { .. } | Error::Decode { .. } => {
                "the file was probably not copied completely; fetch it again, or leave it out"
            }
            Error::UnknownFormat { .. } => "convert the image to JPEG or PNG",
            Error::TooLarge { .. } | Error::TooManyBytes { .. } => "cut the image into tiles or scale it down first",
            _ => return None,
        };
        Some(text.to_owned())
    }
}
