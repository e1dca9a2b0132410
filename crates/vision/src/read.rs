//! Reads an image file into 8-bit RGB, the right way up.
//!
//! Rotation by EXIF is applied; grey becomes three equal channels; alpha is dropped, not blended; 16 bits are rounded to
//! 8; CMYK is converted; of several pictures in a file, such as an animation's, the first is taken. The format is told from
//! the content, not from the file's name. A file is untrusted: sizes are checked before memory is taken, and a picture that
//! is only half there is an error, not a grey lower half.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::error::{Error, Result};

/// Largest width and height taken.
pub const MAX_SIDE: u32 = 32_768;
/// Most pixels taken.
pub const MAX_PIXELS: u64 = 1 << 28;
/// Largest file taken.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// Memory that decoding may take: the most pixels at 16 bits and four channels.
const MAX_DECODER_BYTES: u64 = MAX_PIXELS * 8;

/// Reads the image file at `path`.
///
/// # Errors
/// The file is missing, empty, of an unknown format, cut short, damaged or too large.
pub fn read_image(path: &Path) -> Result<RgbImage> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    let bytes = file.metadata().map_err(read)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(Error::TooManyBytes { path: path.to_owned(), bytes, limit_bytes: MAX_FILE_BYTES });
    }
    let mut data = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(MAX_FILE_BYTES).read_to_end(&mut data).map_err(read)?;
    read_image_bytes(&data, path)
}

/// Reads an image that is in memory; `path` only names it in errors.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_bytes(data: &[u8], path: &Path) -> Result<RgbImage> {
    if data.is_empty() {
        return Err(Error::Empty { path: path.to_owned() });
    }
    let decode = |source| decode_error(path, source);
    let reader = ImageReader::new(Cursor::new(data)).with_guessed_format();
    let mut reader = reader.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let Some(format) = reader.format() else { return Err(Error::UnknownFormat { path: path.to_owned() }) };
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(decode)?;
    check_size(decoder.dimensions(), path)?;
    if format == ImageFormat::Jpeg && !has_end_marker(data) {
        return Err(Error::Truncated { path: path.to_owned() });
    }
    let orientation = decoder.orientation().map_err(decode)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(decode)?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn check_size((width, height): (u32, u32), path: &Path) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        let limit = format!("{MAX_SIDE} on a side and {MAX_PIXELS} in all");
        return Err(Error::TooLarge { path: path.to_owned(), width, height, limit });
    }
    if pixels == 0 {
        return Err(Error::NoPixels);
    }
    Ok(())
}

/// Whether a JPEG has its end marker; the decoder fills a missing rest with grey. Segments are stepped over by their length,
/// since they may hold a picture of their own, and what stands behind the end, such as a film, is not looked at.
fn has_end_marker(data: &[u8]) -> bool {
    const END: u8 = 0xD9;
    let mut at = 2;
    while let Some(&[first, marker]) = data.get(at..at + 2).and_then(|pair| pair.first_chunk()) {
        match (first, marker) {
            (0xFF, END) => return true,
            // Within a scan, or lost: on to the next marker. Stuffed zeros, restarts and fill bytes are none.
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD8 | 0xFF) => at += 1 + usize::from(marker != 0xFF),
            (0xFF, _) => match data.get(at + 2..at + 4).and_then(|pair| pair.first_chunk()) {
                Some(&length) => at += 2 + usize::from(u16::from_be_bytes(length)),
                None => return false,
            },
            _ => at += data[at..].iter().position(|&byte| byte == 0xFF).unwrap_or(data.len()),
        }
    }
    false
}

fn decode_error(path: &Path, source: ImageError) -> Error {
    let path = path.to_owned();
    match &source {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => Error::Truncated { path },
        _ => Error::Decode { path, source },
    }
}
