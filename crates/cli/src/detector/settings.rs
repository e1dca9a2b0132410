//! What flags and config together say about a detector.

use crate::args::detector::{DetectorArgs, NamedDecoder};
use crate::failure::Failure;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use trtforge_builder::Config;
use trtforge_vision::{ClassNames, DecoderKind, Preprocess, Selection};

/// What boxes are for; it decides what stands in for what nobody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A picture for people: sure boxes only.
    Show,
    /// A score: unsure boxes count too, so a config's least score and largest number are left aside.
    Score,
}

/// Boxes of an image that are scored, as many as DAMO-YOLO keeps. COCO's limit of 100 is one for each class and left to the
/// score.
const MOST_SCORED: usize = 500;

/// What is known of a detector beside its own file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How images become the input.
    pub preprocess: Preprocess,
    /// Whether anybody said how images become the input.
    pub has_preprocess: bool,
    /// The decoder, where one is named.
    pub decoder: Option<DecoderKind>,
    /// Names of the classes, where somebody gave them.
    pub classes: Option<ClassNames>,
    /// Names that the model carries about itself, which stand in for those.
    pub told: Option<ClassNames>,
    score: f32,
    iou: Option<f32>,
    max: usize,
}

impl Settings {
    /// Flags over config over defaults.
    ///
    /// # Errors
    /// A decoder nobody knows, a number outside its range, class names that cannot be read.
    pub fn new(args: &DetectorArgs, config: Option<&Config>, purpose: Purpose) -> Result<Self> {
        let block = config.and_then(|config| config.detector.as_ref());
        let preprocess = config.and_then(|config| config.preprocess.clone());
        let named = block.and_then(|block| block.decoder.as_deref()).filter(|name| *name != "auto");
        let classes = args.classes.as_deref().or(block.and_then(|block| block.classes.as_deref()).map(Path::new));
        let (score, max) = match purpose {
            Purpose::Show => (block.and_then(|block| block.score).unwrap_or(0.25), block.and_then(|block| block.max)),
            Purpose::Score => (0.001, Some(MOST_SCORED)),
        };
        let settings = Self {
            has_preprocess: preprocess.is_some(),
            preprocess: preprocess.unwrap_or_default(),
            decoder: match args.decoder {
                Some(NamedDecoder(decoder)) => decoder,
                None => named.map(str::parse).transpose()?,
            },
            classes: classes.map(ClassNames::named_or_read).transpose()?,
            told: None,
            score: args.score.unwrap_or(score),
            iou: args.iou.or(block.and_then(|block| block.iou)),
            max: args.max.or(max).unwrap_or(300),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        for (key, value) in [("score", Some(self.score)), ("iou", self.iou)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                bail!(Failure::input(format!("detector.{key} is {value}; it must be from 0 to 1")));
            }
        }
        if self.max == 0 {
            bail!(Failure::input("detector.max is 0; it must be at least 1"));
        }
        Ok(())
    }

    /// Which boxes stay. A network that has the last word itself is only overruled by an `iou` that somebody gave.
    pub fn selection(&self, kind: DecoderKind) -> Selection {
        let usual = kind.needs_suppression().then_some(0.65);
        Selection { score: self.score, iou: self.iou.or(usual), max: self.max, candidates: Selection::CANDIDATES }
    }

    /// The least score of a box.
    pub fn score(&self) -> f32 {
        self.score
    }

    /// The names of the classes. Where nobody gave any: the model's own, if they are as many as it has classes, or those of
    /// COCO for a network that has as many.
    pub fn class_names(&self, classes: Option<usize>) -> ClassNames {
        let coco = ClassNames::coco();
        let told = self.told.as_ref().filter(|told| classes.is_none_or(|classes| classes == told.len()));
        match self.classes.as_ref().or(told) {
            Some(names) => names.clone(),
            None if classes == Some(coco.len()) => coco,
            None => ClassNames::default(),
        }
    }
}

/// The model behind an argument, which is itself or what a config names, and the config: that one or the one of the flags.
///
/// # Errors
/// A config cannot be read.
pub fn model_and_config(file: &Path, args: &DetectorArgs) -> Result<(PathBuf, Option<Config>)> {
    if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let config = Config::read(file)?;
        return Ok((config.model.clone(), Some(config)));
    }
    Ok((file.to_owned(), args.config.as_deref().map(Config::read).transpose()?))
}
