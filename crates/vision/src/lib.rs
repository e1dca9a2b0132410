//! Image files to network input tensors.
//!
//! One [`Preprocess`] block serves calibration, verification, detection and evaluation alike, so that a network sees the
//! same pixels whenever it sees an image. This crate reads files and computes numbers; it must never know of networks,
//! devices or the other crates.
//!
//! ```no_run
//! use trtforge_vision::{Input, Preprocess, read_image};
//!
//! # fn main() -> trtforge_vision::Result<()> {
//! let image = read_image("street.jpg".as_ref())?;
//! let preprocess = Preprocess::default();
//! let tensor = preprocess.tensor(&image, Input::rgb(640, 640))?;
//! assert_eq!(tensor.len(), 3 * 640 * 640);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod classes;
pub mod coco;
mod decoder;
mod detection;
mod draw;
mod encode;
mod error;
mod placement;
mod preprocess;
mod read;
mod resize;
mod rows;
mod size;

pub use classes::{ClassNames, coco_category_id};
pub use decoder::{Decoder, DecoderKind, Numbers, OutputShape, Values, choose};
pub use detection::{BoundingBox, Candidates, Detection, Rejected, Selection, Suppressor};
pub use draw::annotate;
pub use encode::encode_image;
pub use error::{Error, Result};
pub use image::RgbImage;
pub use placement::Placement;
pub use preprocess::{ChannelOrder, Fit, Input, Layout, Preprocess};
pub use read::{IMAGE_EXTENSIONS, MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, read_image, read_image_bytes};
pub use size::Size;
