//! The model, named directly or by its config.

use crate::failure::Failure;
use anyhow::{Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use trtforge_builder::Config;

/// The model, or the config that names one.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// ONNX model, or the YAML config that names one
    #[arg(value_name = "MODEL|CONFIG.yaml")]
    source: PathBuf,
    /// Take everything but the model from this config; flags win over it
    #[arg(long, value_name = "CONFIG.yaml")]
    config: Option<PathBuf>,
}

impl ModelArgs {
    /// The config, if one was given instead of a model or beside it.
    ///
    /// # Errors
    /// When it cannot be read or does not parse, or two were given.
    pub fn config(&self) -> Result<Option<Config>> {
        let extension = self.source.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "yaml" | "yml" if self.config.is_some() => {
                bail!(Failure::usage("a config is given twice, as the model and with --config"))
            }
            "yaml" | "yml" => Ok(Some(Config::read(&self.source)?)),
            _ => self.config.as_deref().map(|path| self.config_for_model(path)).transpose(),
        }
    }

    fn config_for_model(&self, path: &Path) -> Result<Config> {
        Ok(Config { model: self.source.clone(), ..Config::read(path)? })
    }

    /// The model's file.
    pub fn path(&self, config: Option<&Config>) -> PathBuf {
        config.map_or_else(|| self.source.clone(), |config| config.model.clone())
    }
}
