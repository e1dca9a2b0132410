//! The manifest reader: no bytes make it panic, and what it reads it writes as the same manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trtforge_builder::Manifest;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    let again = Manifest::parse(manifest.to_json().as_bytes()).expect("a manifest that was written can be read");
    assert_eq!(again, manifest);
});
