//! What the runtime reads of an engine file and its manifest before it asks any library: an answer or an error, never a panic.
//!
//! Two bytes of length, that many bytes of manifest (none where the length is 0), then the engine.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trtforge_runtime::EngineOptions;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (manifest, engine) = rest.split_at(length);
    let manifest = (length > 0).then_some(manifest);
    // Without the features that run engines every way ends in an error; which one is what the checks found.
    let opened = EngineOptions::default().from_bytes("fuzz", engine.to_vec(), manifest);
    assert!(opened.is_err());
});
