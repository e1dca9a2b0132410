//! Boxes: what a decoder finds, what is wrong with it, which of it is kept.
//!
//! Everything up to [`Selection::select`] is in pixels of the network's input; what comes out of it is in pixels of the
//! photograph. Nothing here knows which network the boxes are from.

mod bounds;
mod candidates;
mod selection;
mod suppression;

pub use bounds::BoundingBox;
pub use candidates::{Candidates, Rejected};
pub use selection::Selection;
pub use suppression::Suppressor;

/// One object found in a photograph.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where it is, in pixels of the photograph.
    pub bounds: BoundingBox,
    /// How sure the network is, from 0 to 1.
    pub score: f32,
    /// Number of its class, from 0.
    pub class: u32,
}
