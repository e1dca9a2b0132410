//! Image files to network input tensors, and what networks put out to boxes in the photograph, scores and drawings.
//!
//! One [`Preprocess`] block serves calibration, verification, detection and evaluation alike, so that a network sees the
//! same pixels whenever it sees an image. Of networks only shapes and numbers are known here: this crate must never know of
//! models, devices or the other crates.
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
mod list;
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
pub use list::{IMAGE_EXTENSIONS, images_in, images_listed, is_image};
pub use placement::Placement;
pub use preprocess::{ChannelOrder, Fit, Input, Layout, Preprocess};
pub use read::{MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, read_image, read_image_bytes};
pub use size::Size;
