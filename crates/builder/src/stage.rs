//! The named steps of the pipeline, in order: what `--stop-after` and `--dump-after` take, and what timings are reported by.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// A step of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The model file is mapped and parsed.
    Read,
    /// Names, edges, types and tensor sizes are checked.
    Check,
    /// Shapes are settled.
    FreezeShapes,
    /// ONNX Runtime's basic optimisations.
    Simplify,
    /// Known-bad graphs are repaired.
    Repair,
    /// Ranges of values are observed on samples.
    ObserveRanges,
    /// Every node gets a precision.
    DecidePrecision,
    /// Thresholds are chosen, and what INT8 costs is looked at.
    Calibrate,
    /// The decisions are applied.
    Convert,
    /// The result is compared with the FP32 model.
    Verify,
    /// TensorRT parses the model.
    Parse,
    /// TensorRT builds the engine.
    Compile,
    /// Engine and manifest are written.
    Write,
}

const NAMES: [(Stage, &str); 13] = [
    (Stage::Read, "read"),
    (Stage::Check, "check"),
    (Stage::FreezeShapes, "freeze-shapes"),
    (Stage::Simplify, "simplify"),
    (Stage::Repair, "repair"),
    (Stage::ObserveRanges, "observe-ranges"),
    (Stage::DecidePrecision, "decide-precision"),
    (Stage::Calibrate, "calibrate"),
    (Stage::Convert, "convert"),
    (Stage::Verify, "verify"),
    (Stage::Parse, "parse"),
    (Stage::Compile, "compile"),
    (Stage::Write, "write"),
];

impl Stage {
    /// All steps in order.
    pub fn all() -> impl Iterator<Item = Stage> {
        NAMES.iter().map(|(stage, _)| *stage)
    }

    /// The name on the command line and in timings.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }

    /// Whether the model can be written out after this step.
    pub fn has_model(self) -> bool {
        self <= Stage::Convert
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no step; the steps are read, check, freeze-shapes, simplify, repair, observe-ranges, decide-precision, calibrate, convert"
)]
pub struct StageParseError(pub String);

impl FromStr for Stage {
    type Err = StageParseError;

    fn from_str(text: &str) -> Result<Self, StageParseError> {
        let found = NAMES.iter().find(|(stage, name)| *name == text && stage.has_model());
        found.map(|(stage, _)| *stage).ok_or_else(|| StageParseError(text.to_owned()))
    }
}

/// Wall time per step in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Timings(Vec<(Stage, f64)>);

impl Timings {
    /// Runs `work` as `stage` and adds its wall time.
    pub fn measure<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(stage, start.elapsed().as_secs_f64() * 1e3);
        result
    }

    /// Adds time to a stage.
    pub fn add(&mut self, stage: Stage, milliseconds: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, total)) => *total += milliseconds,
            None => self.0.push((stage, milliseconds)),
        }
    }

    /// Milliseconds of one stage.
    pub fn get(&self, stage: Stage) -> f64 {
        self.0.iter().find(|(known, _)| *known == stage).map_or(0.0, |(_, total)| *total)
    }

    /// Stage names and milliseconds in the order the stages first ran.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().map(|(stage, total)| (stage.name(), *total))
    }
}
