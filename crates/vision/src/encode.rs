//! An image as the bytes of a file.

use std::io::Cursor;
use std::path::Path;

use image::error::{EncodingError, ImageFormatHint};
use image::{ImageError, ImageFormat, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::error::{Error, Result};

/// Quality of JPEG files, from 1 to 100: lines and letters stay clear.
const JPEG_QUALITY: u8 = 90;

/// `image` in the format that the extension of `path` stands for: PNG for `png`, else JPEG. Nothing is written.
///
/// # Errors
/// The format has no room for the image, as JPEG beyond 65,535 pixels.
pub fn encode_image(image: &RgbImage, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(image.as_raw().len() / 8);
    let is_png = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    let encoded = match is_png {
        true => image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png),
        false => encode_jpeg(image, &mut bytes),
    };
    match encoded {
        Ok(()) => Ok(bytes),
        Err(source) => Err(Error::Encode { path: path.to_owned(), source }),
    }
}

/// Colour at the whole resolution: at half of it lines of one pixel lose theirs.
fn encode_jpeg(image: &RgbImage, bytes: &mut Vec<u8>) -> Result<(), ImageError> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| {
        ImageError::Encoding(EncodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), error))
    };
    let side = |side: u32| u16::try_from(side).map_err(|error| refused(error.into()));
    let (width, height) = (side(image.width())?, side(image.height())?);
    let mut encoder = Encoder::new(bytes, JPEG_QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(image.as_raw(), width, height, ColorType::Rgb).map_err(|error| refused(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_image_bytes;
    use image::Rgb;

    #[test]
    fn what_is_written_is_read_again() {
        let image = RgbImage::from_fn(32, 16, |x, _| if x < 16 { Rgb([200, 30, 40]) } else { Rgb([20, 60, 220]) });
        for (name, allowed) in [("a.png", 0), ("a.PNG", 0), ("a.jpg", 6), ("a", 6)] {
            let path = Path::new(name);
            let read = read_image_bytes(&encode_image(&image, path).unwrap(), path).unwrap();
            let (before, after) = (image.get_pixel(5, 5).0, read.get_pixel(5, 5).0);
            assert!(before.iter().zip(after).all(|(a, b)| a.abs_diff(b) <= allowed), "{name}: {after:?}");
        }
    }

    #[test]
    fn lines_of_one_pixel_keep_their_colour() {
        let image =
            RgbImage::from_fn(32, 32, |x, y| if x == 9 || y == 21 { Rgb([40, 30, 230]) } else { Rgb([120; 3]) });
        let path = Path::new("a.jpg");
        let read = read_image_bytes(&encode_image(&image, path).unwrap(), path).unwrap();
        for (x, y) in [(9, 4), (28, 21)] {
            let Rgb([red, _, blue]) = *read.get_pixel(x, y);
            assert!(blue > 180 && red < 90, "{red} {blue} at {x}, {y}");
        }
    }

    #[test]
    fn what_jpeg_has_no_room_for_is_an_error() {
        let long = RgbImage::new(65_536, 1);
        assert!(matches!(encode_image(&long, Path::new("a.jpg")), Err(Error::Encode { .. })));
        assert!(encode_image(&long, Path::new("a.png")).is_ok());
    }
}
