//! Which decoder fits a network's outputs.

use super::{
    Decoder, DecoderKind, OutputShape, decoded_scores, efficient_nms, end_to_end, fastestdet, level_maps, nanodet,
    picodet, rt_detr, rt_detr_joined, ssd, yolov5, yolov8, yolox,
};
use crate::error::{Error, Result};
use crate::size::Size;

/// The one decoder that fits `outputs` of a network with an input of size `input`. Pure: shapes, types and names decide,
/// never numbers.
///
/// # Errors
/// [`Error::NoDecoder`] where none fits, [`Error::SeveralDecoders`] where more than one does; both name the outputs.
pub fn choose(outputs: &[OutputShape], input: Size) -> Result<Decoder> {
    let fitting: Vec<DecoderKind> = DecoderKind::ALL.into_iter().filter(|&kind| fits(kind, outputs, input)).collect();
    match fitting.as_slice() {
        &[kind] => Decoder::named(kind, outputs, input),
        [] => Err(Error::NoDecoder { outputs: outputs.to_vec(), input }),
        _ => Err(Error::SeveralDecoders { kinds: fitting, outputs: outputs.to_vec(), input }),
    }
}

fn fits(kind: DecoderKind, outputs: &[OutputShape], input: Size) -> bool {
    match kind {
        DecoderKind::DamoYolo => decoded_scores::fit(outputs, input).is_some(),
        DecoderKind::DamoYoloRaw => level_maps::fit(outputs, input).is_some(),
        DecoderKind::Yolox => yolox::fit(outputs, input).is_some(),
        DecoderKind::YoloV5 => yolov5::fit(outputs, input).is_some(),
        DecoderKind::YoloV8 => yolov8::fit(outputs, input).is_some(),
        DecoderKind::EndToEnd => end_to_end::fit(outputs).is_some(),
        DecoderKind::EfficientNms => efficient_nms::fit(outputs).is_some(),
        DecoderKind::RtDetr => rt_detr::fit(outputs).is_some(),
        DecoderKind::RtDetrJoined => rt_detr_joined::fit(outputs, input).is_some(),
        DecoderKind::Ssd => ssd::fit(outputs, input).is_some(),
        DecoderKind::FastestDet => fastestdet::fit(outputs, input).is_some(),
        DecoderKind::NanoDet => nanodet::fit(outputs, input).is_some(),
        DecoderKind::PicoDet => picodet::fit(outputs, input).is_some(),
    }
}
