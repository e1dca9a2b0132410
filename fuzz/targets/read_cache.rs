//! The calibration cache reader: no bytes make it panic, and what it reads it writes as the same cache.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trtforge_builder::calibration::CalibrationCache;

fuzz_target!(|data: &[u8]| {
    let Ok(cache) = CalibrationCache::parse(data) else { return };
    let again = CalibrationCache::parse(&cache.to_bytes()).expect("a cache that was written can be read");
    assert_eq!(again, cache);
});
