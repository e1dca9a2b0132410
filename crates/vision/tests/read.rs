//! Reading of image files of all kinds, whole and broken.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use trtforge_vision::{Error, Fit, Input, Preprocess, Result, RgbImage, read_image, read_image_bytes};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decoded(bytes: &[u8]) -> Result<RgbImage> {
    read_image_bytes(bytes, Path::new("picture"))
}

fn is_near(image: &RgbImage, x: u32, y: u32, colour: [u8; 3], tolerance: u8) {
    let pixel = image.get_pixel(x, y).0;
    assert!(pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= tolerance), "{pixel:?} is not {colour:?}");
}

const LEFT: [u8; 3] = [200, 30, 40];
const RIGHT: [u8; 3] = [20, 60, 220];

#[test]
fn colours_and_sides_are_right() {
    for (name, tolerance) in [("plain.jpg", 6), ("progressive.jpg", 6), ("cmyk.jpg", 12)] {
        let image = read_image(&data(name)).unwrap();
        assert_eq!(image.dimensions(), (16, 8), "{name}");
        is_near(&image, 2, 4, LEFT, tolerance);
        is_near(&image, 13, 4, RIGHT, tolerance);
    }
}

#[test]
fn a_turned_picture_is_turned_back() {
    let image = read_image(&data("turned.jpg")).unwrap();
    assert_eq!(image.dimensions(), (8, 16));
    is_near(&image, 4, 2, LEFT, 6);
    is_near(&image, 4, 13, RIGHT, 6);
}

#[test]
fn grey_becomes_three_equal_channels() {
    let image = read_image(&data("grey.jpg")).unwrap();
    assert!(image.pixels().all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]));
}

#[test]
fn alpha_is_dropped_and_sixteen_bits_are_rounded() {
    let clear = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(2, 2, Rgba([10, 20, 30, 0])));
    assert_eq!(decoded(&encoded(&clear, ImageFormat::Png)).unwrap().get_pixel(0, 0).0, [10, 20, 30]);
    let deep = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(2, 2, Rgb([65535, 32896, 257])));
    assert_eq!(decoded(&encoded(&deep, ImageFormat::Png)).unwrap().get_pixel(1, 1).0, [255, 128, 1]);
    let deep_grey = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(2, 2, Luma([65535])));
    assert_eq!(decoded(&encoded(&deep_grey, ImageFormat::Png)).unwrap().get_pixel(1, 1).0, [255; 3]);
}

#[test]
fn every_format_is_read_whatever_the_name() {
    let image = DynamicImage::ImageRgb8(ImageBuffer::from_fn(5, 4, |x, y| Rgb([x as u8, y as u8, 77])));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Gif] {
        assert_eq!(decoded(&encoded(&image, format)).unwrap(), image.to_rgb8(), "{format:?}");
    }
}

#[test]
fn of_several_pictures_in_a_file_the_first_is_read() {
    for name in ["animated.webp", "animated.png", "animated.gif", "pages.tif"] {
        let image = read_image(&data(name)).unwrap();
        assert_eq!(image.dimensions(), (16, 8), "{name}");
        is_near(&image, 2, 4, LEFT, 2);
        is_near(&image, 13, 4, RIGHT, 2);
    }
}

#[test]
fn a_single_pixel_and_a_thread_of_pixels_become_tensors() {
    for (width, height) in [(1, 1), (20_000, 10), (10, 20_000), (1, 32_768)] {
        let thin = DynamicImage::ImageRgb8(ImageBuffer::from_pixel(width, height, Rgb([9, 80, 200])));
        let image = decoded(&encoded(&thin, ImageFormat::Png)).unwrap();
        assert_eq!(image.dimensions(), (width, height));
        for fit in [Fit::Stretch, Fit::Letterbox, Fit::LetterboxTopLeft] {
            let settings = Preprocess { fit, pad: 0, ..Preprocess::default() };
            let tensor = settings.tensor(&image, Input::rgb(64, 48)).unwrap();
            let placement = settings.placement(&image, Input::rgb(64, 48)).unwrap();
            let shown = tensor[..64 * 48].iter().filter(|&&red| red == 9.0).count();
            assert_eq!(shown, (placement.size.width * placement.size.height) as usize, "{width}x{height} {fit:?}");
        }
    }
}

#[test]
fn files_cut_short_are_refused_at_every_length() {
    let picture = DynamicImage::ImageRgb8(ImageBuffer::from_fn(40, 40, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])));
    let mut files = vec![std::fs::read(data("plain.jpg")).unwrap(), std::fs::read(data("progressive.jpg")).unwrap()];
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Gif] {
        files.push(encoded(&picture, format));
    }
    for whole in &files {
        assert!(decoded(whole).is_ok());
        for length in (0..whole.len() * 9 / 10).step_by(13) {
            let result = decoded(&whole[..length]);
            assert!(result.is_err(), "{length} of {} bytes of {:?} passed", whole.len(), &whole[..4]);
        }
    }
    let half = &files[0][..files[0].len() - 4];
    assert!(matches!(decoded(half), Err(Error::Truncated { .. })));
}

#[test]
fn what_stands_behind_a_jpeg_or_within_its_header_does_not_cut_it_short() {
    for name in ["plain.jpg", "progressive.jpg"] {
        let whole = std::fs::read(data(name)).unwrap();
        // A film behind the picture, which begins a scan by chance.
        let followed = [&whole[..], &[0xFF, 0xDA, 0x00, 0x08], &[0x55; 999]].concat();
        assert_eq!(decoded(&followed).unwrap(), decoded(&whole).unwrap());
        // A thumbnail of its own in a segment for applications: whole, in a picture that is not.
        let thumbnail = [&[0xFF, 0xD8, 0xFF, 0xDA, 0x00, 0x02, 0xFF, 0xD9][..]].concat();
        let segment = [&[0xFF, 0xED, 0x00, thumbnail.len() as u8 + 2], &thumbnail[..]].concat();
        let with_thumbnail = [&whole[..2], &segment, &whole[2..]].concat();
        assert!(decoded(&with_thumbnail).is_ok());
        assert!(decoded(&with_thumbnail[..with_thumbnail.len() - 4]).is_err(), "{name}");
    }
}

#[test]
fn what_is_no_image_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        read_image(&path).unwrap_err()
    };
    assert!(matches!(at("empty.jpg", b""), Error::Empty { .. }));
    assert!(matches!(at("text.png", b"hello, this is text"), Error::UnknownFormat { .. }));
    assert!(matches!(read_image(&folder.path().join("absent.jpg")), Err(Error::Read { .. })));
    assert!(matches!(read_image(folder.path()), Err(Error::Read { .. })));
}

#[test]
fn a_huge_picture_is_refused_before_memory_is_taken() {
    let mut bytes = encoded(&DynamicImage::new_rgb8(1, 1), ImageFormat::Bmp);
    for (at, size) in [(18, 100_000i32), (22, 100_000)] {
        bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
    }
    let error = decoded(&bytes).unwrap_err();
    assert!(matches!(error, Error::TooLarge { width: 100_000, .. } | Error::Decode { .. }), "{error}");
    let mut wide = encoded(&DynamicImage::new_rgb8(1, 1), ImageFormat::Bmp);
    wide[18..22].copy_from_slice(&40_000i32.to_le_bytes());
    let error = decoded(&wide).unwrap_err();
    assert!(matches!(error, Error::TooLarge { width: 40_000, height: 1, .. }), "{error}");
}

#[test]
fn damaged_bytes_never_panic() {
    let files =
        ["plain.jpg", "cmyk.jpg", "progressive.jpg", "turned.jpg"].map(|name| std::fs::read(data(name)).unwrap());
    let mut state = 1u32;
    for file in &files {
        for _ in 0..200 {
            let mut bytes = file.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = state as u8;
            }
            let _ = decoded(&bytes);
        }
    }
}
