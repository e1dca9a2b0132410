//! Labelled photographs in COCO's form, and how well detections agree with them.
//!
//! The score is COCO's: what pycocotools prints for boxes, to the last digits that a different order of summation leaves
//! alone. A file is untrusted: what makes no sense in it is left out and reported.

mod annotations;
mod curve;
mod evaluation;
mod matching;
mod problems;
#[cfg(test)]
mod reading_tests;

pub use annotations::{AnnotatedImage, Annotations, Category, Truth};
pub use evaluation::{AreaScores, ClassScore, Evaluation, Found, evaluate};
pub use problems::{Problem, Problems};
