//! What an engine file is, by its first bytes: a TensorRT plan, one behind a prefix, an ONNX model, or a bundle of stages.
//!
//! Some exporters put a length and that many bytes of JSON in front of the plan. What is known of the plan's own header
//! was seen in files of TensorRT-RTX 1.7: `vtrt`, the layout's number 2 at byte 8, the whole length at byte 16, the version
//! at byte 24. A file of another layout is left to TensorRT to judge.

use super::EngineFault;
use super::bundle::is_bundle;

/// A file's kind and where its engine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// A plan of TensorRT, from this byte on.
    Plan { start: usize },
    /// An ONNX model.
    Onnx,
    /// A bundle of stages.
    Bundle,
}

const LENGTH_BYTES: usize = 4;
const MAGIC: std::ops::Range<usize> = 0..4;
const RTX: &[u8] = b"vtrt";
const KNOWN_LAYOUT: u64 = 2;

/// What `bytes` are.
pub(crate) fn contents(bytes: &[u8]) -> Result<Contents, EngineFault> {
    if bytes.is_empty() {
        return Err(EngineFault::Empty);
    }
    if is_bundle(bytes) {
        return Ok(Contents::Bundle);
    }
    let start = prefix(bytes)?;
    let rest = &bytes[start..];
    if is_plan(rest) {
        check_length(rest)?;
        return Ok(Contents::Plan { start });
    }
    if start == 0 && looks_like_onnx(bytes) {
        return Ok(Contents::Onnx);
    }
    let shown = &rest[..rest.len().min(8)];
    Err(EngineFault::NotAnEngine { start: hex::encode(shown) })
}

fn is_plan(bytes: &[u8]) -> bool {
    bytes.get(MAGIC).is_some_and(|magic| magic[0].is_ascii_lowercase() && &magic[1..] == b"trt")
}

/// Bytes of a length and as much JSON in front; 0 where there are none.
fn prefix(bytes: &[u8]) -> Result<usize, EngineFault> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(0) };
    if is_plan(bytes) || rest.first() != Some(&b'{') {
        return Ok(0);
    }
    let length = u32::from_le_bytes(*length) as usize;
    let Some(json) = rest.get(..length) else {
        let (actual_bytes, expected_bytes) = (bytes.len() as u64, (length + LENGTH_BYTES) as u64);
        return Err(EngineFault::Truncated { actual_bytes, expected_bytes });
    };
    let is_json = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(json).is_ok();
    Ok(if is_json { length + LENGTH_BYTES } else { 0 })
}

/// An ONNX model starts with the field of its IR version, or of another early one.
fn looks_like_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=0x7f, next, ..] if matches!(next, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

fn known(bytes: &[u8]) -> bool {
    bytes.starts_with(RTX) && number(bytes, 8) == Some(KNOWN_LAYOUT)
}

fn check_length(plan: &[u8]) -> Result<(), EngineFault> {
    let actual_bytes = plan.len() as u64;
    // Any plan has a header of 64 bytes.
    let whole = if known(plan) { number(plan, 16).unwrap_or(64) } else { 64 };
    let expected_bytes = whole.max(64);
    if actual_bytes < expected_bytes { Err(EngineFault::Truncated { actual_bytes, expected_bytes }) } else { Ok(()) }
}

/// The version of TensorRT-RTX that wrote a plan, where its layout is known.
#[cfg_attr(not(feature = "tensorrt"), allow(dead_code))]
pub(crate) fn version(plan: &[u8]) -> Option<[u8; 3]> {
    if !known(plan) {
        return None;
    }
    plan.get(24..27)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[..4].copy_from_slice(RTX);
        bytes[8] = 2;
        bytes[16..24].copy_from_slice(&(length as u64).to_le_bytes());
        bytes[24..27].copy_from_slice(&[1, 7, 1]);
        bytes
    }

    fn prefixed(json: &[u8], rest: &[u8]) -> Vec<u8> {
        [&(json.len() as u32).to_le_bytes()[..], json, rest].concat()
    }

    #[test]
    fn a_plan_is_known_with_and_without_a_prefix() {
        assert_eq!(contents(&plan(100)).unwrap(), Contents::Plan { start: 0 });
        assert_eq!(version(&plan(100)), Some([1, 7, 1]));
        let json = br#"{"names": {"0": "person"}, "stride": 32}"#;
        let bytes = prefixed(json, &plan(100));
        assert_eq!(contents(&bytes).unwrap(), Contents::Plan { start: 4 + json.len() });
    }

    #[test]
    fn every_way_of_being_cut_short_is_told() {
        let whole = plan(200);
        for length in 64..200 {
            let fault = contents(&whole[..length]).unwrap_err();
            let told = matches!(fault, EngineFault::Truncated { actual_bytes, expected_bytes: 200 } if actual_bytes == length as u64);
            assert!(told, "{length}: {fault}");
        }
        for length in 4..64 {
            assert!(matches!(contents(&whole[..length]), Err(EngineFault::Truncated { .. })), "{length}");
        }
        assert!(matches!(contents(&[]), Err(EngineFault::Empty)));
        let bytes = prefixed(b"{\"a\": 1}", &plan(100));
        assert!(matches!(contents(&bytes[..9]), Err(EngineFault::Truncated { expected_bytes: 12, .. })));
    }

    #[test]
    fn other_files_are_named_by_their_start() {
        for other in [&b"PK\x03\x04 a zip"[..], b"\x7fELF", b"hello", &[0; 100]] {
            let Err(EngineFault::NotAnEngine { start }) = contents(other) else { panic!() };
            assert!(hex::encode(other).starts_with(&start));
        }
        let no_json = prefixed(b"{not json", &plan(100));
        assert!(matches!(contents(&no_json), Err(EngineFault::NotAnEngine { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), json in any::<bool>()) {
            let mut bytes = bytes;
            if json && bytes.len() > 5 {
                bytes[4] = b'{';
            }
            if let Ok(Contents::Plan { start }) = contents(&bytes) {
                prop_assert!(is_plan(&bytes[start..]));
            }
        }
    }
}
