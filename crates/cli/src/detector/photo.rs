//! A photograph on its way through the detector.

use trtforge_builder::Unreadable;
use trtforge_vision::{Detection, Placement, Rejected, RgbImage, Size};

/// A photograph that was read.
#[derive(Debug)]
pub struct Photo {
    /// Its place in the list of files.
    pub index: usize,
    /// Its size in pixels.
    pub size: Size,
    /// Where it lies in the network's input.
    pub placement: Placement,
    /// Its pixels, where somebody still needs them.
    pub image: Option<RgbImage>,
    /// What was found in it, best first; nothing yet before the network has run.
    pub detections: Vec<Detection>,
}

/// Photographs that go through the network together.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Those that could be read.
    pub photos: Vec<Photo>,
    /// Their input tensors, one behind the other.
    pub tensor: Vec<f32>,
    /// Those that could not.
    pub unreadable: Vec<Unreadable>,
}

/// What became of a [`Prepared`].
#[derive(Debug, Default)]
pub struct Answer {
    /// Photographs with what was found in them.
    pub photos: Vec<Photo>,
    /// Files that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Boxes that made no sense.
    pub rejected: Rejected,
}

impl Answer {
    /// Objects that score more than 1, as no probability does: those of a model without its sigmoid do.
    pub fn above_one(&self) -> u64 {
        let detections = self.photos.iter().flat_map(|photo| &photo.detections);
        detections.filter(|detection| detection.score > MOST_SCORE).count() as u64
    }
}

/// What to think of scores above 1.
pub const NO_PROBABILITY: &str =
    "perhaps the model ends before its sigmoid, or the decoder is not that of this model (--decoder)";

/// 1, and what half precision may add to it.
const MOST_SCORE: f32 = 1.001;
