//! Bilinear resizing as detectors are trained with it.
//!
//! Training pipelines resize with OpenCV's `INTER_LINEAR`: pixel centres at halves, two neighbours each way, edges
//! repeated, and no widening of the filter when shrinking. Most image libraries widen it ("antialias"), which gives a
//! smoother picture than the network was trained on. The interpolating bilinear algorithm of `fast_image_resize` is
//! OpenCV's; results may differ from it by one step of 255, since both round in fixed point in their own way.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::error::{Error, Result};
use crate::size::Size;

/// `image` at `size`, three bytes per pixel, row by row.
pub(crate) fn resize(image: &RgbImage, size: Size) -> Result<Vec<u8>> {
    if image.dimensions() == (size.width, size.height) {
        return Ok(image.as_raw().clone());
    }
    let failed = |reason: String| Error::Resize { width: size.width, height: size.height, reason };
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3);
    let source = source.map_err(|error| failed(error.to_string()))?;
    let mut resized = Image::new(size.width, size.height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut resized, &options).map_err(|error| failed(error.to_string()))?;
    Ok(resized.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenCV's definition, in floating point.
    fn reference(image: &RgbImage, size: Size) -> Vec<f64> {
        let axis = |to: u32, from: u32, at: u32| {
            let place = (f64::from(at) + 0.5) * f64::from(from) / f64::from(to) - 0.5;
            let place = place.clamp(0.0, f64::from(from - 1));
            let low = place.floor() as u32;
            (low, (low + 1).min(from - 1), place - f64::from(low))
        };
        let mut out = Vec::new();
        for y in 0..size.height {
            let (top, bottom, v) = axis(size.height, image.height(), y);
            for x in 0..size.width {
                let (left, right, u) = axis(size.width, image.width(), x);
                for channel in 0..3 {
                    let pixel = |x, y| f64::from(image.get_pixel(x, y).0[channel]);
                    let upper = pixel(left, top) * (1.0 - u) + pixel(right, top) * u;
                    let lower = pixel(left, bottom) * (1.0 - u) + pixel(right, bottom) * u;
                    out.push(upper * (1.0 - v) + lower * v);
                }
            }
        }
        out
    }

    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 12345u32;
        RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        })
    }

    #[test]
    fn agrees_with_the_slow_definition() {
        let sizes =
            [(64, 48, 33, 91), (300, 200, 64, 64), (7, 5, 640, 3), (1, 1, 5, 5), (100, 1, 10, 4), (50, 50, 49, 50)];
        for (from_width, from_height, width, height) in sizes {
            let image = noise(from_width, from_height);
            let size = Size { width, height };
            let fast = resize(&image, size).unwrap();
            for (at, (fast, slow)) in fast.iter().zip(reference(&image, size)).enumerate() {
                let difference = (f64::from(*fast) - slow).abs();
                assert!(difference <= 1.0, "{from_width}x{from_height} to {size}, byte {at}: {fast} for {slow}");
            }
        }
    }

    #[test]
    fn shrinking_does_not_blur() {
        let stripes = RgbImage::from_fn(40, 1, |x, _| image::Rgb([if x % 4 < 2 { 0 } else { 255 }; 3]));
        let shrunk = resize(&stripes, Size { width: 10, height: 1 }).unwrap();
        assert!(shrunk.iter().all(|&value| (127..=128).contains(&value)), "{shrunk:?}");
        let points = RgbImage::from_fn(40, 1, |x, _| image::Rgb([if x % 8 == 0 { 255 } else { 0 }; 3]));
        assert!(resize(&points, Size { width: 10, height: 1 }).unwrap().iter().all(|&value| value == 0));
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image = noise(9, 7);
        assert_eq!(&resize(&image, Size { width: 9, height: 7 }).unwrap(), image.as_raw());
    }
}
