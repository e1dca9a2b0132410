//! TensorRT's cache format: files as TensorRT and other writers leave them, broken ones, and round trips.

use proptest::prelude::*;
use trtforge_builder::calibration::{CacheError, CacheFault, CacheHeader, CalibrationCache};
use trtforge_builder::{CalibrationMethod, Error};

/// Lines of the sort that TensorRT 8 writes.
const TYPICAL: &str = "TRT-8501-EntropyCalibration2\n\
    images: 3c010a14\n\
    input:0: 3c88edfc\n\
    (Unnamed Layer* 64) [Shuffle]_output: 3ddc858b\n\
    /model.0/conv/Conv_output_0: 800000\n";

fn header() -> CacheHeader {
    CacheHeader { version: "8501".into(), algorithm: "EntropyCalibration2".into() }
}

fn fault(text: impl AsRef<[u8]>) -> CacheError {
    CalibrationCache::parse(text.as_ref()).unwrap_err()
}

fn with(line: &str) -> String {
    format!("TRT-8501-EntropyCalibration2\na: 3c010a14\n{line}\n")
}

#[test]
fn a_typical_cache_is_read_and_written_as_it_was() {
    let cache = CalibrationCache::parse(TYPICAL.as_bytes()).unwrap();
    assert_eq!(*cache.header(), header());
    assert_eq!(cache.scale("images"), Some(0.007_875_938));
    assert_eq!(cache.scale("input:0"), Some(f32::from_bits(0x3c88_edfc)));
    assert_eq!(cache.scale("(Unnamed Layer* 64) [Shuffle]_output"), Some(f32::from_bits(0x3ddc_858b)));
    assert_eq!(cache.scale("/model.0/conv/Conv_output_0"), Some(f32::MIN_POSITIVE));
    assert_eq!(cache.scale("input"), None);
    assert_eq!(cache.entries()[0].0, "images");
    assert_eq!(String::from_utf8(cache.to_bytes()).unwrap(), TYPICAL);
}

#[test]
fn other_writers_habits_are_read() {
    let cache = CalibrationCache::parse(TYPICAL.as_bytes()).unwrap();
    let windows = TYPICAL.replace('\n', "\r\n");
    let upper = TYPICAL.replace("3c88edfc", "3C88EDFC").replace(": 800000", ": 00800000");
    let cut = TYPICAL.trim_end();
    let spaced = TYPICAL.replace("images: ", "\nimages:   ") + "\n  \n";
    for text in [windows.as_str(), &upper, cut, &spaced] {
        assert_eq!(CalibrationCache::parse(text.as_bytes()).unwrap(), cache, "{text:?}");
    }
    assert!(CalibrationCache::parse(b"TRT-8XXX-MinMaxCalibration").unwrap().entries().is_empty());
}

#[test]
fn headers_that_are_none() {
    for text in ["", "\n", "images: 3c010a14\n", "TRT-8501\n", "TRT--EntropyCalibration2\n", "TRT-8501-\n", "1 2 3\n"] {
        let error = fault(text);
        assert!(error.line == 1 && matches!(error.fault, CacheFault::Header(_)), "{text:?}: {error}");
    }
}

#[test]
fn wrong_lines_are_named() {
    let line_three = |line: &str| {
        let error = fault(with(line));
        assert_eq!(error.line, 3, "{error}");
        error.fault
    };
    assert!(matches!(line_three("no colon"), CacheFault::Entry(_)));
    assert!(matches!(line_three(": 3c010a14"), CacheFault::Entry(_)));
    for digits in ["", "3c010a140", "03c010a14", "0x3c0a", "+3c0a", "-1", "3c01 0a14", "zz", "3c010a1٣"] {
        assert!(matches!(line_three(&format!("b: {digits}")), CacheFault::Digits { .. }), "{digits}");
    }
    for bad in ["0", "00000000", "80000000", "bc010a14", "7f800000", "ff800000", "7fc00000", "ffffffff"] {
        assert!(matches!(line_three(&format!("b: {bad}")), CacheFault::Scale { .. }), "{bad}");
    }
    assert_eq!(line_three("a: 3c010a14"), CacheFault::Duplicate { tensor: "a".into(), first: 2 });
    let error = fault(b"TRT-8501-EntropyCalibration2\na: 3c010a14\n\xff: 3c010a14\n");
    assert_eq!(error, CacheError { line: 3, fault: CacheFault::Encoding });
    assert_eq!(fault(b"\xff").line, 1);
}

#[test]
fn duplicates_name_the_line_of_the_file_behind_blank_lines() {
    let error = fault("TRT-8501-EntropyCalibration2\n\n\na: 3c010a14\n\na: 3c010a14\n");
    assert_eq!(error, CacheError { line: 6, fault: CacheFault::Duplicate { tensor: "a".into(), first: 4 } });
}

#[test]
fn errors_carry_path_line_and_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.cache");
    std::fs::write(&path, with("b: 0")).unwrap();
    let error = CalibrationCache::read(&path).unwrap_err();
    assert!(error.to_string().contains("c.cache"));
    assert!(error.hint().unwrap().contains("write `b: 38800000`"));
    let Error::CalibrationCache { source, .. } = error else { panic!("another error") };
    assert_eq!(source.to_string(), "line 3: the scale of tensor `b` is 0, and a scale is a finite number above zero");
    assert!(matches!(CalibrationCache::read(&folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn what_has_no_place_in_the_format_is_not_written() {
    let of = |name: &str, scale: f32| CalibrationCache::new(header(), [("a".into(), 1.0), (name.into(), scale)]);
    for (name, scale) in
        [("a", 1.0), ("", 1.0), ("b\nc", 1.0), ("b", 0.0), ("b", -1.0), ("b", f32::NAN), ("b", f32::INFINITY)]
    {
        assert_eq!(of(name, scale).unwrap_err().line, 3, "{name:?} {scale}");
    }
    let bad = CacheHeader { version: "8-5".into(), ..header() };
    assert_eq!(CalibrationCache::new(bad, []).unwrap_err().line, 1);
}

#[test]
fn headers_of_our_own() {
    let of = |method| CacheHeader::new(&CacheHeader::version_number(10, 14, 1), method).to_string();
    assert_eq!(of(CalibrationMethod::Entropy), "TRT-101401-EntropyCalibration2");
    assert_eq!(of(CalibrationMethod::Minmax), "TRT-101401-MinMaxCalibration");
    assert_eq!(of(CalibrationMethod::Percentile), "TRT-101401-LegacyCalibration");
    assert_eq!(of(CalibrationMethod::Mse), "TRT-101401-EntropyCalibration2");
    assert_eq!(of(CalibrationMethod::Auto), "TRT-101401-EntropyCalibration2");
    assert_eq!(CacheHeader::version_number(8, 5, 1), "8501");
}

fn scale() -> impl Strategy<Value = f32> {
    (1u32..0x7f80_0000).prop_map(f32::from_bits)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![5 => any::<char>(), 5 => prop::char::range('a', 'e'), 1 => Just(':'), 1 => Just(' ')],
        1..8,
    )
    .prop_map(|characters| characters.into_iter().filter(|c| *c != '\n').collect::<String>())
    .prop_filter("not empty", |name| !name.is_empty())
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::btree_map(name(), scale(), 0..20)) {
        let cache = CalibrationCache::new(header(), entries).unwrap();
        let read = CalibrationCache::parse(&cache.to_bytes()).unwrap();
        prop_assert_eq!(&read, &cache);
        prop_assert!(cache.entries().iter().all(|(tensor, scale)| read.scale(tensor) == Some(*scale)));
    }

    #[test]
    fn damaged_caches_never_panic(place in 0usize..TYPICAL.len(), byte in any::<u8>()) {
        let mut bytes = TYPICAL.as_bytes().to_vec();
        bytes[place] = byte;
        let _ = CalibrationCache::parse(&bytes);
        let _ = CalibrationCache::parse(&bytes[..place]);
    }
}
