//! A TensorRT calibration cache: the scale and the range of every tensor, and what the cache was made from where its sidecar says so.

use crate::args::json::JsonArgs;
use crate::standard_output;
use crate::table::{Table, pairs};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use trtforge_builder::calibration::{CalibrationCache, Sidecar};

/// Largest magnitude of a signed 8-bit number: a range is so many scales.
const STEPS: f32 = 127.0;

/// What is told about a cache.
#[derive(Debug, Serialize)]
struct Report {
    kind: &'static str,
    path: PathBuf,
    version: String,
    algorithm: String,
    tensors: Vec<Entry>,
    /// Absent where the cache was made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar: Option<Sidecar>,
    /// Whether the file is the one that the sidecar was written with.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches_sidecar: Option<bool>,
}

/// One tensor.
#[derive(Debug, Serialize)]
struct Entry {
    tensor: String,
    scale: f32,
    /// Largest magnitude that is kept.
    range: f32,
}

/// Prints a cache's report.
pub fn inspect(path: &Path, json: JsonArgs) -> Result<()> {
    let report = Report::of(path)?;
    match json.json {
        true => standard_output::write_json(&report),
        false => standard_output::write(report.text()?),
    }
}

impl Report {
    fn of(path: &Path) -> Result<Self> {
        let cache = CalibrationCache::read(path)?;
        let sidecar = Sidecar::read(path)?;
        let digest = trtforge_builder::digest::of_file(path)?;
        let entry =
            |(tensor, scale): &(String, f32)| Entry { tensor: tensor.clone(), scale: *scale, range: scale * STEPS };
        Ok(Self {
            kind: "cache",
            path: path.to_owned(),
            version: cache.header().version.clone(),
            algorithm: cache.header().algorithm.clone(),
            tensors: cache.entries().iter().map(entry).collect(),
            matches_sidecar: sidecar.as_ref().map(|sidecar| sidecar.cache_sha256 == digest),
            sidecar,
        })
    }

    fn text(&self) -> Result<String> {
        let mut summary = vec![
            ("cache".to_owned(), self.path.display().to_string()),
            ("made for".to_owned(), format!("TensorRT {}, {}", self.version, self.algorithm)),
            ("tensors".to_owned(), self.tensors.len().to_string()),
        ];
        summary.extend(self.origin()?);
        let summary: Vec<(&str, String)> = summary.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let mut table = Table::new(&["TENSOR", ">SCALE", ">RANGE", "METHOD"]);
        for entry in &self.tensors {
            let chosen = self.sidecar.as_ref().and_then(|sidecar| sidecar.tensors.get(&entry.tensor));
            let method = chosen.map_or(Ok(String::new()), |chosen| word(&chosen.method))?;
            table.row([entry.tensor.clone(), format!("{:.6e}", entry.scale), format!("{:.6}", entry.range), method]);
        }
        let tensors = if table.is_empty() { String::new() } else { format!("\n{}", table.render()) };
        Ok(pairs(&summary) + &tensors)
    }

    /// What the sidecar says, a line for each part that is known.
    fn origin(&self) -> Result<Vec<(String, String)>> {
        let Some(sidecar) = &self.sidecar else {
            return Ok(vec![("made from".to_owned(), "unknown: no sidecar lies beside it".to_owned())]);
        };
        let binding = serde_json::to_value(&sidecar.binding)?;
        let known = binding.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let mut lines: Vec<(String, String)> = known.map(|(name, value)| (name.clone(), plain(value))).collect();
        if !sidecar.skipped.is_empty() {
            lines.push(("images skipped".to_owned(), sidecar.skipped.len().to_string()));
        }
        lines.push(("made by".to_owned(), format!("trtforge {}", sidecar.trtforge)));
        if self.matches_sidecar == Some(false) {
            lines.push(("edited".to_owned(), "yes: the file is not the one that the sidecar describes".to_owned()));
        }
        Ok(lines)
    }
}

/// A value of a sidecar without quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The name under which a value is stored.
fn word(value: &impl Serialize) -> Result<String> {
    Ok(plain(&serde_json::to_value(value)?))
}
