//! A look at the outermost protobuf layer, before anything is decoded.
//!
//! Protobuf accepts nearly anything: a text file can decode as a model with unknown fields, and a truncated file gives
//! an error without a place. This walk over the top-level fields tells "not a model" from "model cut short", reading
//! only tags and lengths. It must never read past the slice, whatever the bytes.

use crate::error::{Error, Result};

/// Largest protobuf message.
pub(crate) const LIMIT_BYTES: u64 = (1 << 31) - 1;

/// File signatures that people mistake for models: prefix, what it is.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\xff\xd8\xff", "it is a JPEG image"),
    (b"\x89PNG", "it is a PNG image"),
    (b"PK\x03\x04", "it is a ZIP archive (a PyTorch checkpoint is one)"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"%PDF", "it is a PDF document"),
    (b"\x7fELF", "it is an ELF program or library"),
    (b"ftrt", "it is a TensorRT engine"),
    (b"\x93NUMPY", "it is a NumPy array"),
    (b"\x89HDF", "it is an HDF5 file"),
    (b"GGUF", "it is a GGUF model"),
    (b"version https://git-lfs", "it is a Git LFS pointer; the model itself was not fetched"),
    (b"<", "it is a web page or XML"),
    (b"{", "it is JSON text"),
];

/// Field numbers of `ModelProto` with their wire types (0 varint, 2 length-delimited).
const MODEL_FIELDS: &[(u64, u64)] =
    &[(1, 0), (2, 2), (3, 2), (4, 2), (5, 0), (6, 2), (7, 2), (8, 2), (14, 2), (20, 2), (25, 2)];

const IR_VERSION: u64 = 1;
const GRAPH: u64 = 7;

/// Refuses what is not the outer layer of an ONNX model. `origin` names the bytes in errors.
pub(crate) fn inspect(bytes: &[u8], origin: &str) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::Empty { origin: origin.to_owned() });
    }
    if bytes.len() as u64 > LIMIT_BYTES {
        let bytes = bytes.len() as u64;
        return Err(Error::TooLarge { origin: origin.to_owned(), bytes, limit_bytes: LIMIT_BYTES });
    }
    walk(bytes, origin).map_err(|error| match (error, known_format(bytes)) {
        (Error::NotOnnx { origin, .. } | Error::Truncated { origin, .. }, Some(reason)) => {
            Error::NotOnnx { origin, reason: reason.to_owned() }
        }
        (error, _) => error,
    })
}

fn known_format(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ORTM") {
        return Some("it is a model in ONNX Runtime's own format (.ort)");
    }
    SIGNATURES.iter().find(|(prefix, _)| bytes.starts_with(prefix)).map(|row| row.1)
}

fn walk(bytes: &[u8], origin: &str) -> Result<()> {
    let mut position = 0;
    let mut seen = Vec::new();
    while position < bytes.len() {
        let Some(field) = read_field(bytes, position) else {
            return Err(damaged(bytes, origin, !seen.is_empty(), position));
        };
        match field.expected_wire_type() {
            Some(wire_type) if wire_type != field.wire_type => {
                return Err(not_onnx(origin, "its fields are not those of a model"));
            }
            Some(_) => seen.push(field.number),
            None if seen.is_empty() => return Err(not_onnx(origin, "it does not begin with a field of a model")),
            None => {}
        }
        if field.end > bytes.len() as u64 {
            return Err(cut_short(bytes, origin, &field));
        }
        position = field.end as usize;
    }
    match seen.contains(&IR_VERSION) || seen.contains(&GRAPH) {
        true => Ok(()),
        false => Err(not_onnx(origin, "it has neither a graph nor a format version")),
    }
}

struct Field {
    number: u64,
    wire_type: u64,
    end: u64,
}

impl Field {
    fn expected_wire_type(&self) -> Option<u64> {
        MODEL_FIELDS.iter().find(|row| row.0 == self.number).map(|row| row.1)
    }
}

/// The field that starts at `position`: `None` if its tag or length cannot be read.
fn read_field(bytes: &[u8], position: usize) -> Option<Field> {
    let (tag, body) = read_varint(bytes, position)?;
    let (number, wire_type) = (tag >> 3, tag & 7);
    if number == 0 || tag > u64::from(u32::MAX) {
        return None;
    }
    let end = match wire_type {
        0 => read_varint(bytes, body)?.1 as u64,
        1 => body as u64 + 8,
        2 => {
            let (length, start) = read_varint(bytes, body)?;
            (start as u64).checked_add(length)?
        }
        5 => body as u64 + 4,
        _ => return None,
    };
    Some(Field { number, wire_type, end })
}

fn read_varint(bytes: &[u8], position: usize) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.get(position..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            return Some((value, position + index + 1));
        }
    }
    None
}

fn cut_short(bytes: &[u8], origin: &str, field: &Field) -> Error {
    if field.end > LIMIT_BYTES {
        return not_onnx(origin, "its fields are not those of a model");
    }
    Error::Truncated { origin: origin.to_owned(), needed_bytes: field.end, available_bytes: bytes.len() as u64 }
}

/// A tag or length that cannot be read: the end of a cut file when it is the last bytes, else something foreign.
fn damaged(bytes: &[u8], origin: &str, known: bool, position: usize) -> Error {
    let length = bytes.len() as u64;
    if known && bytes.len() - position < 10 {
        return Error::Truncated { origin: origin.to_owned(), needed_bytes: length + 1, available_bytes: length };
    }
    not_onnx(origin, "its fields are not those of a model")
}

fn not_onnx(origin: &str, reason: &str) -> Error {
    Error::NotOnnx { origin: origin.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_truncated_from_foreign() {
        let model = [0x08, 0x08, 0x3a, 0x04, 0x12, 0x02, b'a', b'b'];
        assert!(inspect(&model, "m").is_ok());
        assert!(matches!(inspect(&model[..6], "m"), Err(Error::Truncated { needed_bytes: 8, available_bytes: 6, .. })));
        assert!(matches!(inspect(&model[..3], "m"), Err(Error::Truncated { .. })));
        assert!(matches!(inspect(b"", "m"), Err(Error::Empty { .. })));
        for foreign in [&b"\xff\xd8\xff\xe0"[..], b"PK\x03\x04....", b"hello world\n", b"{}", &[0xff; 64], &[0; 64]] {
            assert!(matches!(inspect(foreign, "m"), Err(Error::NotOnnx { .. })), "{foreign:?}");
        }
    }

    #[test]
    fn unknown_fields_after_known_ones_are_accepted() {
        assert!(inspect(&[0x08, 0x08, 0xc2, 0x3e, 0x01, 0x00], "m").is_ok());
    }
}
