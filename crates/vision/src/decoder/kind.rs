//! The decoders by name.

use std::fmt;
use std::str::FromStr;

use super::{
    decoded_scores, efficient_nms, end_to_end, fastestdet, level_maps, nanodet, picodet, rt_detr, rt_detr_joined, ssd,
    yolov5, yolov8, yolox,
};
use crate::error::Error;

/// A decoder by name: what is known of a family of networks' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecoderKind {
    /// Scores and boxes apart, both final: DAMO-YOLO, YOLO-NAS.
    DamoYolo,
    /// DAMO-YOLO's maps before decoding.
    DamoYoloRaw,
    /// YOLOX before decoding.
    Yolox,
    /// YOLOv5, YOLOv7, and YOLOX decoded in the graph.
    YoloV5,
    /// YOLOv8, v9, 11, 12.
    YoloV8,
    /// Final boxes in rows of six: YOLOv10, YOLO26, exports with their suppression inside.
    EndToEnd,
    /// TensorRT's EfficientNMS or BatchedNMS at the end.
    EfficientNms,
    /// RT-DETR, D-FINE, DEIM.
    RtDetr,
    /// RT-DETR of ultralytics.
    RtDetrJoined,
    /// UltraFace and other SSDs, decoded in the graph.
    Ssd,
    /// FastestDet.
    FastestDet,
    /// NanoDet and NanoDet-Plus.
    NanoDet,
    /// PicoDet without post-processing.
    PicoDet,
}

impl DecoderKind {
    /// Every decoder there is.
    pub const ALL: [Self; 13] = [
        Self::DamoYolo,
        Self::DamoYoloRaw,
        Self::Yolox,
        Self::YoloV5,
        Self::YoloV8,
        Self::EndToEnd,
        Self::EfficientNms,
        Self::RtDetr,
        Self::RtDetrJoined,
        Self::Ssd,
        Self::FastestDet,
        Self::NanoDet,
        Self::PicoDet,
    ];

    /// Its name in configurations and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::DamoYolo => "damo-yolo",
            Self::DamoYoloRaw => "damo-yolo-raw",
            Self::Yolox => "yolox",
            Self::YoloV5 => "yolov5",
            Self::YoloV8 => "yolov8",
            Self::EndToEnd => "end-to-end",
            Self::EfficientNms => "efficient-nms",
            Self::RtDetr => "rt-detr",
            Self::RtDetrJoined => "rt-detr-joined",
            Self::Ssd => "ssd",
            Self::FastestDet => "fastestdet",
            Self::NanoDet => "nanodet",
            Self::PicoDet => "picodet",
        }
    }

    /// The outputs it reads, for people. `B` is the batch, `A` anchors, `C` classes.
    pub fn contract(self) -> &'static str {
        match self {
            Self::DamoYolo => decoded_scores::CONTRACT,
            Self::DamoYoloRaw => level_maps::CONTRACT,
            Self::Yolox => yolox::CONTRACT,
            Self::YoloV5 => yolov5::CONTRACT,
            Self::YoloV8 => yolov8::CONTRACT,
            Self::EndToEnd => end_to_end::CONTRACT,
            Self::EfficientNms => efficient_nms::CONTRACT,
            Self::RtDetr => rt_detr::CONTRACT,
            Self::RtDetrJoined => rt_detr_joined::CONTRACT,
            Self::Ssd => ssd::CONTRACT,
            Self::FastestDet => fastestdet::CONTRACT,
            Self::NanoDet => nanodet::CONTRACT,
            Self::PicoDet => picodet::CONTRACT,
        }
    }

    /// Whether the network leaves it to us that each object is found once.
    pub fn needs_suppression(self) -> bool {
        !matches!(self, Self::EndToEnd | Self::EfficientNms | Self::RtDetr | Self::RtDetrJoined)
    }
}

impl fmt::Display for DecoderKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for DecoderKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| Error::UnknownDecoder { name: text.to_owned() })
    }
}
