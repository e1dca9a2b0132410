//! The files of an engine, under temporary names until all are there.

use crate::Result;
use crate::digest;
use crate::make::Parts;
use crate::manifest::{FileInfo, StageInfo};
use crate::output::StagedFile;
use crate::segments::bundle::{self, StageContent, StagedBundle};
use std::path::{Path, PathBuf};

/// What was compiled, written.
pub(crate) enum Written {
    Engine { file: StagedFile, superseded: Vec<PathBuf> },
    Bundle(StagedBundle),
}

impl Written {
    /// Writes beside `output`.
    pub(crate) fn write(output: &Path, parts: &Parts) -> Result<(FileInfo, Self)> {
        match parts {
            Parts::Whole(compiled) => {
                let (sha256, file) = std::thread::scope(|scope| {
                    let digest = scope.spawn(|| digest::of_bytes(&compiled.engine));
                    let file = StagedFile::write(output, &compiled.engine);
                    (digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), file)
                });
                let info = FileInfo { sha256, bytes: compiled.engine.len() as u64 };
                Ok((info, Self::Engine { file: file?, superseded: bundle::stage_files(output) }))
            }
            Parts::Stages(network, compiled) => {
                let bundle =
                    StagedBundle::write(output, network, compiled.iter().map(|stage| Ok(StageContent::engine(stage))))?;
                Ok((bundle.info.clone(), Self::Bundle(bundle)))
            }
        }
    }

    /// Stages, as the manifest has them.
    pub(crate) fn stages(&self) -> Vec<StageInfo> {
        match self {
            Self::Engine { .. } => vec![],
            Self::Bundle(bundle) => bundle.stages.clone(),
        }
    }

    /// Puts everything in its place; stage files of what was there before go.
    pub(crate) fn commit(self) -> Result<()> {
        match self {
            Self::Engine { file, superseded } => {
                file.commit()?;
                bundle::remove(&superseded);
                Ok(())
            }
            Self::Bundle(bundle) => bundle.commit(),
        }
    }
}
