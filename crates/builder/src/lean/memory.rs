//! Forms that were found, by the digest of what they were searched for.

use super::Lean;
use crate::output::StagedFile;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Forms found so far: of this process, and of others where there is a folder to keep them in.
#[derive(Debug, Default)]
pub struct FormMemory {
    folder: Option<PathBuf>,
    found: Mutex<HashMap<String, Lean>>,
}

impl FormMemory {
    /// Forms that are kept in a folder, which is made when there is one to keep.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    pub(crate) fn recall(&self, key: &str) -> Option<Lean> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lean) = found.get(key) {
            return Some(lean.clone());
        }
        let lean: Lean = serde_json::from_slice(&std::fs::read(self.path(key)?).ok()?).ok()?;
        found.insert(key.to_owned(), lean.clone());
        Some(lean)
    }

    /// Losing a form costs a search, so a folder that cannot be written to is no error.
    pub(crate) fn remember(&self, key: String, lean: &Lean) {
        if let Some(path) = self.path(&key) {
            let _ = write(&path, lean);
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, lean.clone());
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{key}.json")))
    }
}

fn write(path: &Path, lean: &Lean) -> Option<()> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    StagedFile::write(path, &serde_json::to_vec(lean).ok()?).ok()?.commit().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::{Choice, LeanForm};

    fn lean(bytes: u64) -> Lean {
        let form = LeanForm { merge_siblings: true, ..LeanForm::default() };
        Lean { choice: Choice { form, bytes, plain_bytes: 9, builds: 3 }, depthwise: true, batch: Some(1) }
    }

    #[test]
    fn another_process_finds_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("forms");
        FormMemory::in_folder(&place).remember("a".into(), &lean(1));
        let other = FormMemory::in_folder(&place);
        assert_eq!((other.recall("a"), other.recall("b")), (Some(lean(1)), None));
        std::fs::write(place.join("b.json"), "{").unwrap();
        assert_eq!(other.recall("b"), None);
    }

    #[test]
    fn without_a_folder_it_lasts_as_long_as_the_process() {
        let memory = FormMemory::default();
        memory.remember("a".into(), &lean(2));
        assert_eq!(memory.recall("a"), Some(lean(2)));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_matter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let memory = FormMemory::in_folder(file.path().join("forms"));
        memory.remember("a".into(), &lean(3));
        assert_eq!(memory.recall("a"), Some(lean(3)));
    }
}
