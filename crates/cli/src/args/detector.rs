//! Flags that say how a detector's outputs become boxes; they win over a config's `detector` block.

use clap::Args;
use std::path::PathBuf;
use trtforge_vision::DecoderKind;

/// How outputs become boxes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Detector")]
pub struct DetectorArgs {
    /// Take preprocessing and the detector's settings from a config
    #[arg(long, value_name = "CONFIG.yaml")]
    pub config: Option<PathBuf>,
    /// Decoder of the outputs; `auto` chooses it from their shapes [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_decoder)]
    pub decoder: Option<NamedDecoder>,
    /// Least score of a box
    #[arg(long, value_name = "0..1", value_parser = parse_share)]
    pub score: Option<f32>,
    /// Overlap above which the weaker of two boxes of a class goes [default: 0.65]
    #[arg(long, value_name = "0..1", value_parser = parse_share)]
    pub iou: Option<f32>,
    /// Most boxes in an image
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max: Option<usize>,
    /// Names of the classes: `coco`, or a file with one a line
    #[arg(long, value_name = "coco|FILE")]
    pub classes: Option<PathBuf>,
}

/// Flags that say how a detector is run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Runs")]
pub struct RunnerArgs {
    /// Images per run, where the model leaves that open [default: 1 on the CPU, up to 8 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch: Option<u32>,
    /// Threads within an operator, on the CPU [default: the processors, shared by the runs under way]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gpu: u32,
}

/// A decoder, or the wish to have it chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedDecoder(pub Option<DecoderKind>);

fn parse_decoder(text: &str) -> Result<NamedDecoder, String> {
    let known = || DecoderKind::ALL.map(DecoderKind::name).join(", ");
    if text == "auto" {
        return Ok(NamedDecoder(None));
    }
    text.parse().map(|kind| NamedDecoder(Some(kind))).map_err(|_| format!("known are auto, {}", known()))
}

fn parse_share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number of at least 1".to_owned())
}
