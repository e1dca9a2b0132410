//! Where figures are kept that can be had again, at the price of time.

use std::path::PathBuf;

/// `TRTFORGE_CACHE_DIR`, else `trtforge` in the user's cache folder; none where there is no home folder.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TRTFORGE_CACHE_DIR")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("trtforge")))
        .or_else(|| Some(set("HOME")?.join(".cache/trtforge")))
}
