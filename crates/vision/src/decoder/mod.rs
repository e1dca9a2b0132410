//! Decoders: what networks put out, as boxes in pixels of the network's input.
//!
//! One file per contract, each with a `fit` that tells from shapes and types whether outputs follow it, and a `decode` that
//! reads one image's numbers. [`choose`] asks them all; where none or several answer, that is an error which says so. A decoder
//! never suppresses, cuts or scales boxes: that is [`Selection`](crate::Selection)'s part and the same for all.

mod choose;
mod decoded_scores;
mod distribution;
mod efficient_nms;
mod end_to_end;
mod fastestdet;
mod grid;
mod kind;
mod level_maps;
mod nanodet;
mod output;
mod picodet;
mod rt_detr;
mod rt_detr_joined;
mod ssd;
#[cfg(test)]
mod tests;
mod yolov5;
mod yolov8;
mod yolox;

pub use choose::choose;
pub use kind::DecoderKind;
pub use output::{Numbers, OutputShape, Values};

use output::ClassNumber;

use crate::detection::{BoundingBox, Candidates};
use crate::error::{Error, Result};
use crate::size::Size;

/// A decoder bound to the outputs of one network at one input size.
#[derive(Debug, Clone)]
pub struct Decoder {
    kind: DecoderKind,
    layout: Layout,
    outputs: Vec<OutputShape>,
}

#[derive(Debug, Clone)]
enum Layout {
    DecodedScores(decoded_scores::DecodedScores),
    LevelMaps(level_maps::LevelMaps),
    Yolox(yolox::Yolox),
    YoloV5(yolov5::YoloV5),
    YoloV8(yolov8::YoloV8),
    EndToEnd(end_to_end::EndToEnd),
    EfficientNms(efficient_nms::EfficientNms),
    RtDetr(rt_detr::RtDetr),
    RtDetrJoined(rt_detr_joined::RtDetrJoined),
    Ssd(ssd::Ssd),
    FastestDet(fastestdet::FastestDet),
    NanoDet(nanodet::NanoDet),
    PicoDet(picodet::PicoDet),
}

impl Decoder {
    /// The decoder that the user named, bound to these outputs. It takes shapes that [`choose`] would find too vague.
    ///
    /// # Errors
    /// [`Error::DecoderUnfit`] where the outputs are not what this decoder reads.
    pub fn named(kind: DecoderKind, outputs: &[OutputShape], input: Size) -> Result<Self> {
        use DecoderKind as Kind;
        let layout = match kind {
            Kind::DamoYolo => decoded_scores::named(outputs).map(Layout::DecodedScores),
            Kind::DamoYoloRaw => level_maps::fit(outputs, input).map(Layout::LevelMaps),
            Kind::Yolox => yolox::fit(outputs, input).map(Layout::Yolox),
            Kind::YoloV5 => yolov5::named(outputs).map(Layout::YoloV5),
            Kind::YoloV8 => yolov8::named(outputs, input).map(Layout::YoloV8),
            Kind::EndToEnd => end_to_end::named(outputs).map(Layout::EndToEnd),
            Kind::EfficientNms => efficient_nms::fit(outputs).map(Layout::EfficientNms),
            Kind::RtDetr => rt_detr::fit(outputs).map(Layout::RtDetr),
            Kind::RtDetrJoined => rt_detr_joined::named(outputs, input).map(Layout::RtDetrJoined),
            Kind::Ssd => ssd::named(outputs, input).map(Layout::Ssd),
            Kind::FastestDet => fastestdet::fit(outputs, input).map(Layout::FastestDet),
            Kind::NanoDet => nanodet::named(outputs, input).map(Layout::NanoDet),
            Kind::PicoDet => picodet::fit(outputs, input).map(Layout::PicoDet),
        };
        let unfit = || Error::DecoderUnfit { kind, outputs: outputs.to_vec(), input };
        Ok(Self { kind, layout: layout.ok_or_else(unfit)?, outputs: outputs.to_vec() })
    }

    /// Which decoder it is.
    pub fn kind(&self) -> DecoderKind {
        self.kind
    }

    /// Number of classes, where the shapes tell it.
    pub fn classes(&self) -> Option<usize> {
        match &self.layout {
            Layout::DecodedScores(layout) => Some(layout.classes()),
            Layout::LevelMaps(layout) => Some(layout.classes()),
            Layout::Yolox(layout) => Some(layout.classes()),
            Layout::YoloV5(layout) => Some(layout.classes()),
            Layout::YoloV8(layout) => Some(layout.classes()),
            Layout::RtDetrJoined(layout) => Some(layout.classes()),
            Layout::Ssd(layout) => Some(layout.classes()),
            Layout::FastestDet(layout) => Some(layout.classes()),
            Layout::NanoDet(layout) => Some(layout.classes()),
            Layout::PicoDet(layout) => Some(layout.classes()),
            Layout::EndToEnd(_) | Layout::EfficientNms(_) | Layout::RtDetr(_) => None,
        }
    }

    /// Reads the image at place `image` of a batch of `batch` into `into`, which is cleared first. `outputs` are in the
    /// order they were chosen by.
    ///
    /// # Errors
    /// [`Error::OutputChanged`] where an output is of another size than it was chosen by.
    pub fn decode(&self, outputs: &[Values<'_>], batch: usize, image: usize, into: &mut Candidates) -> Result<()> {
        into.clear();
        let rows: Option<Vec<Values<'_>>> = (outputs.len() == self.outputs.len() && image < batch)
            .then(|| self.outputs.iter().zip(outputs).map(|(shape, values)| self.row(shape, values, batch, image)))
            .and_then(Iterator::collect);
        let Some(rows) = rows else { return Err(self.changed(outputs, batch)) };
        match &self.layout {
            Layout::DecodedScores(layout) => layout.decode(&rows, into),
            Layout::LevelMaps(layout) => layout.decode(&rows, into),
            Layout::Yolox(layout) => layout.decode(&rows, into),
            Layout::YoloV5(layout) => layout.decode(&rows, into),
            Layout::YoloV8(layout) => layout.decode(&rows, into),
            Layout::EndToEnd(layout) => layout.decode(&rows, into),
            Layout::EfficientNms(layout) => layout.decode(&rows, into),
            Layout::RtDetr(layout) => layout.decode(&rows, into),
            Layout::RtDetrJoined(layout) => layout.decode(&rows, into),
            Layout::Ssd(layout) => layout.decode(&rows, into),
            Layout::FastestDet(layout) => layout.decode(&rows, into),
            Layout::NanoDet(layout) => layout.decode(&rows, into),
            Layout::PicoDet(layout) => layout.decode(&rows, into),
        }
        Ok(())
    }

    /// One image's numbers of one output. How many boxes there are may change only where the network has the last word.
    fn row<'v>(&self, shape: &OutputShape, values: &Values<'v>, batch: usize, image: usize) -> Option<Values<'v>> {
        let expected = shape.row_length();
        let length = match self.kind {
            DecoderKind::EndToEnd => values.len() / batch,
            _ => expected,
        };
        let whole = values.len() == length.checked_mul(batch)?;
        let same_kind = matches!(values, Values::F32(_)) == (shape.numbers == Numbers::Fractions);
        if whole && same_kind { values.part(image * length, length) } else { None }
    }

    fn changed(&self, outputs: &[Values<'_>], batch: usize) -> Error {
        let actual = outputs.iter().map(Values::len).collect();
        Error::OutputChanged { expected: self.outputs.clone(), batch, actual }
    }
}

/// Takes a box whose class the network gives as a number, and counts one whose class is impossible.
fn push_labelled(into: &mut Candidates, bounds: BoundingBox, score: f32, class: ClassNumber) {
    match class {
        ClassNumber::Class(class) => into.push(bounds, score, class),
        ClassNumber::Impossible => into.push_without_class(score),
        ClassNumber::Unused => {}
    }
}

/// The corner box number `at` of a list of them.
fn boxes_at(boxes: &[f32], at: usize) -> BoundingBox {
    boxes_at_stride(boxes, at, 4)
}

/// As [`boxes_at`], where a box begins every `stride` numbers.
fn boxes_at_stride(boxes: &[f32], at: usize, stride: usize) -> BoundingBox {
    match boxes.get(at * stride..) {
        Some(&[left, top, right, bottom, ..]) => BoundingBox::corners(left, top, right, bottom),
        _ => BoundingBox::default(),
    }
}
