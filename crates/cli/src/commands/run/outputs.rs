//! What runs gave, on its way into files.
//!
//! Outputs of several runs are joined along their first dimension, which must be the batch; rows that only filled up the
//! last batch are left out.

use super::npy::NpyFile;
use super::statistics::Statistics;
use crate::failure::Failure;
use anyhow::{Result, bail};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use trtforge_builder::{Error, StagedFile};
use trtforge_runtime::{ElementType, Shape, Signature, Slot};

/// All outputs.
pub struct Outputs {
    folder: Option<PathBuf>,
    outputs: Vec<Output>,
    names: Option<StagedFile>,
}

struct Output {
    name: String,
    element: ElementType,
    form: Form,
    batch: u64,
    runs: u64,
    shape: Vec<u64>,
    statistics: Statistics,
}

/// Where the values go.
enum Form {
    /// Nowhere.
    Looked,
    /// One file for all runs.
    Joined { target: PathBuf, file: Option<NpyFile> },
    /// A file for each run.
    Separate { folder: PathBuf, stem: String },
}

/// What became of an output.
pub struct Written {
    pub name: String,
    pub element: ElementType,
    /// Shape of all of it, or of the last run where each has a file.
    pub shape: Vec<u64>,
    /// Its file, or `NAME.*.npy` where each run has one.
    pub file: Option<PathBuf>,
    pub statistics: Statistics,
}

impl Outputs {
    /// Makes the folder. Nothing in it is written over before all runs are done.
    pub fn create(signature: &Signature, folder: Option<&Path>, separate: bool, batch: usize) -> Result<Self> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
        }
        let mut taken = HashSet::new();
        let outputs = signature.outputs.iter().map(|output| {
            let stem = file_stem(&output.name, &mut taken);
            let form = match folder {
                None => Form::Looked,
                Some(folder) if separate => Form::Separate { folder: folder.to_owned(), stem },
                Some(folder) => Form::Joined { target: folder.join(format!("{stem}.npy")), file: None },
            };
            Output {
                name: output.name.clone(),
                element: output.element,
                form,
                batch: batch as u64,
                runs: 0,
                shape: Vec::new(),
                statistics: Statistics::default(),
            }
        });
        Ok(Self { outputs: outputs.collect(), folder: folder.map(Path::to_owned), names: None })
    }

    /// Takes what a run left in its slot; `rows` of it count.
    pub fn take(&mut self, slot: &mut Slot<'_>, rows: usize) -> Result<()> {
        self.outputs.iter_mut().try_for_each(|output| {
            let shape = slot.output_shape(&output.name)?;
            output.take(&shape, slot.read_output(&output.name)?, rows as u64)
        })
    }

    /// Lists what each row is, where rows have names.
    pub fn name_rows(&mut self, rows: &[String]) -> Result<()> {
        if let (Some(folder), false) = (&self.folder, rows.is_empty()) {
            let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
            self.names = Some(StagedFile::write(&folder.join("images.txt"), lines.as_bytes())?);
        }
        Ok(())
    }

    /// Gives the files their names.
    pub fn commit(self) -> Result<Vec<Written>> {
        let written = self.outputs.into_iter().map(Output::commit).collect::<Result<_>>()?;
        self.names.map_or(Ok(()), StagedFile::commit)?;
        Ok(written)
    }
}

impl Output {
    fn take(&mut self, shape: &Shape, bytes: &[u8], rows: u64) -> Result<()> {
        let by_batch = shape.first() == Some(&self.batch) && rows <= self.batch;
        let mut shape = shape.to_vec();
        let mut used = bytes.len();
        if by_batch {
            used = (bytes.len() as u64 / self.batch * rows) as usize;
            shape[0] = rows;
        }
        let bytes = &bytes[..used];
        self.statistics.add(self.element, bytes);
        match &mut self.form {
            Form::Looked => {}
            Form::Separate { folder, stem } => {
                let target = folder.join(format!("{stem}.{:06}.npy", self.runs));
                let mut file = NpyFile::create(&target, self.element, shape.len())?;
                file.write(bytes)?;
                file.commit(&shape)?;
            }
            Form::Joined { target, file } => {
                let same_rows = self.shape.get(1..) == shape.get(1..);
                if self.runs > 0 && !(by_batch && same_rows) {
                    bail!(unjoinable(&self.name, &self.shape, &shape));
                }
                let file = match file {
                    Some(file) => file,
                    None => file.insert(NpyFile::create(target, self.element, shape.len())?),
                };
                file.write(bytes)?;
            }
        }
        let joined = by_batch && self.runs > 0 && !matches!(self.form, Form::Separate { .. });
        match (joined, self.shape.first_mut()) {
            (true, Some(first)) => *first += rows,
            _ => self.shape = shape,
        }
        self.runs += 1;
        Ok(())
    }

    fn commit(self) -> Result<Written> {
        let file = match self.form {
            Form::Looked => None,
            Form::Separate { folder, stem } => Some(folder.join(format!("{stem}.*.npy"))),
            Form::Joined { target, file } => match file {
                Some(file) => file.commit(&self.shape).map(|()| Some(target))?,
                None => None,
            },
        };
        Ok(Written { name: self.name, element: self.element, shape: self.shape, file, statistics: self.statistics })
    }
}

fn unjoinable(name: &str, first: &[u64], now: &[u64]) -> Failure {
    Failure::check(format!("output `{name}` cannot be joined: runs gave {first:?}, then {now:?}"))
        .hint("--separate writes a file for each run")
}

/// A file name for an output: what a name may hold that a file name should not becomes `_`.
fn file_stem(name: &str, taken: &mut HashSet<String>) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let mut stem: String = name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if stem.trim_start_matches('.').is_empty() {
        stem = "output".to_owned();
    }
    let mut unique = stem.clone();
    let mut number = 1;
    while !taken.insert(unique.clone()) {
        number += 1;
        unique = format!("{stem}_{number}");
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_a_file_name_of_its_own() {
        let mut taken = HashSet::new();
        let stems = ["a/b:0", "a_b_0", "..", ""].map(|name| file_stem(name, &mut taken));
        assert_eq!(stems, ["a_b_0", "a_b_0_2", "output", "output_2"]);
    }
}
