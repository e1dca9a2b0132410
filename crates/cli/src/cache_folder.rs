//! Where figures are kept that can be had again, at the price of time.

use std::path::PathBuf;
use std::sync::Arc;
use trtforge_builder::FormMemory;

/// `TRTFORGE_CACHE_DIR`, else `trtforge` in the user's cache folder; none where there is no home folder.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TRTFORGE_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("trtforge")))
        .or_else(|| Some(set("HOME")?.join(".cache/trtforge")))
}

/// Forms of networks that were found before, of this and of earlier runs.
pub fn form_memory() -> Arc<FormMemory> {
    Arc::new(cache_folder().map_or_else(FormMemory::default, |folder| FormMemory::in_folder(folder.join("forms"))))
}
