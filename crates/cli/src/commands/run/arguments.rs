//! The flags of `trtforge run`.

use crate::args::json::JsonArgs;
use crate::args::monitor::MonitorArgs;
use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use trtforge_builder::{ByteSize, NamedShape, SampleSource};

/// Run a model on the CPU, or an engine on a GPU, on arrays or images
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Engine or model
    #[arg(value_name = "ENGINE|MODEL")]
    pub file: PathBuf,
    /// Inputs: NAME=FILE.npy for each, or an .npz, an .npy, a folder or list of images, an image; made up without
    #[arg(short, long, value_name = "[NAME=]FILE|DIR", num_args = 1..)]
    pub input: Vec<String>,
    /// Use at most N rows of them: images, or entries of arrays along the first dimension
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Take preprocessing and shapes from a config
    #[arg(long, value_name = "CONFIG.yaml")]
    pub config: Option<PathBuf>,
    /// Images that may be unreadable before it is an error [default: one in twenty, at least 1]
    #[arg(long, value_name = "N")]
    pub max_unreadable: Option<usize>,
    /// Rows per run, where the model leaves that open [default: all of an array, one image]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Shape of an input that the model leaves open; once per input
    #[arg(long, value_name = "NAME=1x3x640x640")]
    pub shape: Vec<NamedShape>,
    /// Folder for the outputs, an .npy each; only a summary without
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write a file for each run instead of joining the runs along the first dimension
    #[arg(long, requires = "output")]
    pub separate: bool,
    /// Runs that may be under way at a time, each with buffers of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_slots)]
    pub slots: usize,
    /// Most device memory for weights, activations, inputs and outputs together
    #[arg(long, value_name = "SIZE")]
    pub budget: Option<ByteSize>,
    /// Threads within an operator, on the CPU [default: one per processor]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gpu: u32,
    /// Replay runs from CUDA graphs, on a GPU
    #[arg(long)]
    pub cuda_graph: bool,
    /// Files for a recording.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// Form of the report.
    #[command(flatten)]
    pub json: JsonArgs,
}

fn parse_slots(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|slots| (1..=64).contains(slots)).ok_or_else(|| "write a number from 1 to 64".to_owned())
}

impl RunArgs {
    /// Where the inputs come from.
    ///
    /// # Errors
    /// When `--input` is given in ways that do not go together.
    pub fn source(&self) -> Result<SampleSource> {
        let mut named = BTreeMap::new();
        let mut whole = Vec::new();
        for text in &self.input {
            match named_file(text) {
                Some((name, file)) if named.contains_key(name) => {
                    bail!(Failure::usage(format!("input `{name}` is given twice, the second time as {file}")))
                }
                Some((name, file)) => drop(named.insert(name.to_owned(), PathBuf::from(file))),
                None => whole.push(PathBuf::from(text)),
            }
        }
        if let Some((name, folder)) = named.iter().find(|(_, path)| path.is_dir()) {
            bail!(
                Failure::usage(format!("{} is a folder, and {name:?} is to be an array", folder.display()))
                    .hint("give a folder of images without a name")
            );
        }
        match (named.is_empty(), whole.as_slice()) {
            (true, []) => Ok(SampleSource::Synthetic),
            (false, []) => Ok(SampleSource::Named(named)),
            (true, [path]) => Ok(SampleSource::Path(path.clone())),
            (true, _) => {
                bail!(Failure::usage("several inputs are given without names").hint(
                    "write NAME=FILE for each; for images give their folder, or a text file with one path a line"
                ))
            }
            (false, [path, ..]) => bail!(
                Failure::usage(format!("{} is given without a name beside inputs that have names", path.display()))
                    .hint("write NAME=FILE for each input")
            ),
        }
    }
}

/// `NAME=FILE`; a text that is a path as it stands has no name.
fn named_file(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').filter(|(name, _)| !name.is_empty() && !Path::new(text).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn source(inputs: &[&str]) -> Result<SampleSource> {
        Line::parse_from(["run", "model.onnx"].iter().chain(inputs)).run.source()
    }

    #[test]
    fn inputs_have_names_or_are_one_thing() {
        assert!(matches!(source(&[]), Ok(SampleSource::Synthetic)));
        assert!(matches!(source(&["--input", "photos"]), Ok(SampleSource::Path(_))));
        let Ok(SampleSource::Named(files)) = source(&["-i", "a=x.npy", "-i", "b=y=z.npy"]) else { panic!("names") };
        assert_eq!(files["b"], Path::new("y=z.npy"));
        let folder = format!("a={}", std::env::temp_dir().display());
        assert!(
            source(&["-i", &folder]).unwrap_err().to_string().ends_with("is a folder, and \"a\" is to be an array")
        );
        assert!(matches!(source(&["-i", "a=x.npy", "b=y.npy"]), Ok(SampleSource::Named(files)) if files.len() == 2));
        for wrong in [&["-i", "a.npy", "b.npy"][..], &["-i", "a=a.npy", "b.npy"], &["-i", "a=a.npy", "a=b.npy"]] {
            assert!(source(wrong).is_err(), "{wrong:?}");
        }
    }
}
