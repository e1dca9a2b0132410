//! The YAML file that says everything about one model's build. Every key is checked; unknown keys are refused with line and column.
//!
//! Relative paths are relative to the config file, so a config can be used from any folder.

use crate::precision::Precision;
use crate::shapes::ShapeEntry;
use crate::size::ByteSize;
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_vision::Preprocess;

/// A whole config file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The ONNX model.
    pub model: PathBuf,
    /// Precision to build in.
    #[serde(default)]
    pub precision: Option<Precision>,
    /// Shape ranges by input name.
    #[serde(default)]
    pub shapes: BTreeMap<String, ShapeEntry>,
    /// How an image becomes the input tensor; one block for calibration, verification and detection.
    #[serde(default)]
    pub preprocess: Option<Preprocess>,
    /// Sample inputs.
    #[serde(default)]
    pub calibration: Option<CalibrationConfig>,
    /// Precision policy.
    #[serde(default)]
    pub quantize: QuantizeConfig,
    /// Limit on TensorRT's scratch memory.
    #[serde(default)]
    pub workspace: Option<ByteSize>,
    /// Limit on weights + activation + input and output buffers.
    #[serde(default)]
    pub memory_budget: Option<ByteSize>,
    /// How the outputs become boxes.
    #[serde(default)]
    pub detector: Option<DetectorConfig>,
}

/// The `calibration` block: where sample inputs come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Folder or list of images, or an `.npz`.
    pub images: PathBuf,
    /// How many of them to use; all where absent.
    #[serde(default)]
    pub count: Option<usize>,
    /// Calibration method of INT8.
    #[serde(default)]
    pub method: Option<CalibrationMethod>,
    /// TensorRT calibration cache of INT8.
    #[serde(default)]
    pub cache: Option<PathBuf>,
}

/// How an activation threshold is chosen from its histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationMethod {
    /// Per tensor, the method that serves the outputs best.
    Auto,
    /// Least Kullback-Leibler divergence.
    Entropy,
    /// A percentile of the magnitudes.
    Percentile,
    /// Least squared error.
    Mse,
    /// The whole range.
    Minmax,
}

impl CalibrationMethod {
    /// The name in configs and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CalibrationMethod::Auto => "auto",
            CalibrationMethod::Entropy => "entropy",
            CalibrationMethod::Percentile => "percentile",
            CalibrationMethod::Mse => "mse",
            CalibrationMethod::Minmax => "minmax",
        }
    }
}

/// The `quantize` block.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeConfig {
    /// Regular expressions over node names that stay in FP16.
    #[serde(default)]
    pub keep_fp16: Vec<String>,
    /// Regular expressions over node names that stay in FP32.
    #[serde(default)]
    pub keep_fp32: Vec<String>,
    /// The least accuracy an output may have.
    #[serde(default)]
    pub accuracy_floor: Option<AccuracyFloor>,
}

/// The least accuracy that a rewritten model must keep at every output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccuracyFloor {
    /// Signal-to-quantization-noise ratio in decibel.
    #[serde(default)]
    pub sqnr_db: Option<f64>,
    /// Cosine similarity.
    #[serde(default)]
    pub cosine: Option<f64>,
    /// Decibel of the error relative to the signal, channel by channel, averaged over the channels of an output.
    #[serde(default)]
    pub channel_db: Option<f64>,
}

/// A `METRIC=VALUE` that names no known metric or no number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{0}` is no accuracy floor; write sqnr_db=20, cosine=0.999 or channel_db=20")]
pub struct FloorParseError(pub String);

impl std::str::FromStr for AccuracyFloor {
    type Err = FloorParseError;

    fn from_str(text: &str) -> std::result::Result<Self, FloorParseError> {
        let error = || FloorParseError(text.to_owned());
        let (metric, value) = text.split_once('=').ok_or_else(error)?;
        let value: f64 = value.trim().parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(error)?;
        match metric.trim() {
            "sqnr_db" => Ok(AccuracyFloor { sqnr_db: Some(value), ..AccuracyFloor::default() }),
            "cosine" => Ok(AccuracyFloor { cosine: Some(value), ..AccuracyFloor::default() }),
            "channel_db" => Ok(AccuracyFloor { channel_db: Some(value), ..AccuracyFloor::default() }),
            _ => Err(error()),
        }
    }
}

/// The `detector` block: how the outputs become boxes. Detection checks its values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorConfig {
    /// Decoder name, `auto` where absent.
    #[serde(default)]
    pub decoder: Option<String>,
    /// Least score of a box.
    #[serde(default)]
    pub score: Option<f32>,
    /// Overlap above which the weaker of two boxes is dropped.
    #[serde(default)]
    pub iou: Option<f32>,
    /// Most boxes per image.
    #[serde(default)]
    pub max: Option<usize>,
    /// Class names: `coco` or a file with one name a line.
    #[serde(default)]
    pub classes: Option<String>,
}

impl Config {
    /// Reads a config file and makes its paths relative to the working directory.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::Config`] with line and column where it does not parse.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
        let mut config = Config::parse(&text).map_err(|reason| Error::Config { path: path.to_owned(), reason })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.model = folder.join(&config.model);
        if let Some(calibration) = &mut config.calibration {
            calibration.images = folder.join(&calibration.images);
            calibration.cache = calibration.cache.take().map(|cache| folder.join(cache));
        }
        if let Some(DetectorConfig { classes: Some(classes), .. }) = &mut config.detector
            && !classes.eq_ignore_ascii_case("coco")
        {
            *classes = folder.join(&*classes).to_string_lossy().into_owned();
        }
        Ok(config)
    }

    /// Parses the text of a config; the error names line and column.
    ///
    /// # Errors
    /// The parser's message where the text is no config.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = "
model: models/damoyolo_s.onnx
precision: int8
shapes: {images: {min: 1x3x640x640, opt: 4x3x640x640, max: 8x3x640x640}}
preprocess: {size: 640x640, fit: stretch, order: rgb, scale: 1.0, mean: [0, 0, 0], std: [1, 1, 1], pad: 114}
calibration: {images: calibration/coco, count: 300, method: entropy, cache: calibration/damoyolo_s.cache}
quantize: {keep_fp16: [\"neck\\\\..*\"], accuracy_floor: {sqnr_db: 20}}
workspace: 512MiB
memory_budget: 1GiB
detector: {decoder: auto, score: 0.05, iou: 0.7, max: 500, classes: coco}
";

    #[test]
    fn the_documented_config_parses() {
        let config = Config::parse(FULL).unwrap();
        assert_eq!(config.workspace.unwrap().bytes(), 512 << 20);
        assert_eq!(config.shapes["images"].max.as_ref().unwrap().0, [8, 3, 640, 640]);
        assert_eq!(config.quantize.accuracy_floor.unwrap().sqnr_db, Some(20.0));
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_column() {
        let error = Config::parse("model: a.onnx\nworkspaces: 5MiB\n").unwrap_err();
        assert!(error.contains("workspaces") && error.contains("line 2"), "{error}");
        let error = Config::parse("model: a.onnx\nquantize:\n  keepfp16: []\n").unwrap_err();
        assert!(error.contains("keepfp16") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn floors() {
        assert_eq!("sqnr_db=20".parse::<AccuracyFloor>().unwrap().sqnr_db, Some(20.0));
        assert!("psnr=3".parse::<AccuracyFloor>().is_err());
        assert!("sqnr_db=nan".parse::<AccuracyFloor>().is_err());
    }
}
