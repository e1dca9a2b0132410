//! Ctrl-C: the first asks the running work to stop and clean up, the second stops at once.
//!
//! Only commands that write something install this; everything else may simply die.

use anyhow::{Context, Result};
use trtforge_builder::CancelFlag;

/// Installs the handler and returns the flag it sets.
///
/// # Errors
/// When a handler is installed already, which no command does.
pub fn install() -> Result<CancelFlag> {
    let flag = CancelFlag::default();
    let seen = flag.clone();
    ctrlc::set_handler(move || {
        if seen.is_cancelled() {
            stop_at_once();
        }
        seen.cancel();
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}

#[expect(clippy::exit, reason = "the work did not react to the first Ctrl-C; 130 is what a shell expects")]
fn stop_at_once() {
    std::process::exit(130)
}
