//! An image as the bytes of a file.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};

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
        false => JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(image),
    };
    match encoded {
        Ok(()) => Ok(bytes),
        Err(source) => Err(Error::Encode { path: path.to_owned(), source }),
    }
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
}
