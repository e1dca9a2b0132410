//! Bilinear resizing as detectors are trained with it, a row at a time.
//!
//! Training pipelines resize with OpenCV's `INTER_LINEAR`: pixel centres at halves, two neighbours each way, edges
//! repeated, and no widening of the filter when shrinking. Most image libraries widen it ("antialias"), which gives a
//! smoother picture than the network was trained on. A row of the result is two rows of the image mixed, then pairs of
//! its pixels; no picture lies in between. Numbers are whole ones with 6 and 15 bits behind the point, so a result is
//! within one step of 255 of the exact one, as OpenCV's is.

use image::RgbImage;

use crate::rows::{TensorRow, Writer};
use crate::size::Size;

/// Colours of a pixel.
pub(crate) const COLOURS: usize = 3;
/// Numbers that a pixel is moved in.
const LANES: usize = 4;
/// Numbers that are mixed with one call.
const BLOCK: usize = 1024;
/// Bits behind the point of a mixed row: 255 in them fits 16 bits with a sign.
const ROW_BITS: u32 = 6;
/// Bits behind the point of a share.
const SHARE_BITS: u32 = 15;

/// Where one pixel of the result lies along one axis of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The neighbour before it.
    low: u32,
    /// The neighbour behind it, which is the same at an edge.
    high: u32,
    /// Share of the neighbour behind, in 2^-15.
    share: i16,
}

/// A resized image that is not made yet.
pub(crate) struct Resized<'i> {
    image: &'i RgbImage,
    columns: Vec<Place>,
    rows: Vec<Place>,
    /// The columns' shares, once for each number of a pixel.
    shares: Vec<[i16; LANES]>,
}

impl<'i> Resized<'i> {
    /// `image`, which has pixels, at `size`.
    pub fn new(image: &'i RgbImage, size: Size) -> Self {
        let columns = places(image.width(), size.width);
        let shares = columns.iter().map(|place| [place.share; LANES]).collect();
        Self { image, columns, rows: places(image.height(), size.height), shares }
    }

    /// Writes one row into a row of a tensor, from column `left` on.
    #[inline(always)]
    pub fn write_row(&self, row: usize, memory: &mut Memory, writer: &Writer, cells: TensorRow<'_>, left: usize) {
        let place = self.rows[row];
        let stride = self.image.width() as usize * COLOURS;
        let at = |row: u32| &self.image.as_raw()[row as usize * stride..][..stride];
        let (upper, lower) = (at(place.low), at(place.high));
        let width = self.columns.len();
        if place.share == 0 && width * COLOURS == stride {
            return writer.write(cells, left, width, upper.as_chunks().0.iter().copied());
        }
        // A pixel is read with the number behind it, so one is behind the last as well.
        memory.mixed.resize(stride + 1, 0);
        memory.before.resize(width, [0; LANES]);
        memory.behind.resize(width, [0; LANES]);
        mix_rows(upper, lower, place.share, &mut memory.mixed);
        spread(&memory.mixed, &self.columns, &mut memory.before, &mut memory.behind);
        mix_pixels(memory.before.as_flattened_mut(), memory.behind.as_flattened(), self.shares.as_flattened());
        writer.write(
            cells,
            left,
            width,
            memory.before.iter().map(|&[red, green, blue, _]| [red, green, blue].map(|it| it as u8)),
        );
    }
}

/// Memory to work in, kept from row to row.
#[derive(Default)]
pub(crate) struct Memory {
    mixed: Vec<i16>,
    before: Vec<[i16; LANES]>,
    behind: Vec<[i16; LANES]>,
}

/// For each of `to` pixels, its place among `from` pixels.
fn places(from: u32, to: u32) -> Vec<Place> {
    let step = f64::from(from) / f64::from(to);
    let last = from - 1;
    let place = |at: u32| {
        let centre = ((f64::from(at) + 0.5) * step - 0.5).clamp(0.0, f64::from(last));
        let low = (centre as u32).min(last);
        let share = ((centre - f64::from(low)) * f64::from(1 << SHARE_BITS)).round().min(f64::from(i16::MAX)) as i16;
        Place { low, high: (low + 1).min(last), share }
    };
    (0..to).map(place).collect()
}

/// `upper` and `lower` mixed, with 6 bits behind the point.
#[inline(always)]
fn mix_rows(upper: &[u8], lower: &[u8], share: i16, mixed: &mut [i16]) {
    if share == 0 {
        mixed.iter_mut().zip(upper).for_each(|(mixed, &upper)| *mixed = i16::from(upper) << ROW_BITS);
        return;
    }
    let blocks = mixed.chunks_mut(BLOCK).zip(upper.chunks(BLOCK)).zip(lower.chunks(BLOCK));
    let shares = std::hint::black_box([share; BLOCK]);
    blocks.for_each(|((mixed, upper), lower)| mix_block(upper, lower, &shares, mixed));
}

/// Mixes a part of two rows. That shares come from memory, though all are the same, makes the compiler multiply eight
/// numbers of 16 bits at once.
#[inline(always)]
fn mix_block(upper: &[u8], lower: &[u8], shares: &[i16; BLOCK], mixed: &mut [i16]) {
    for (((mixed, &upper), &lower), &share) in mixed.iter_mut().zip(upper).zip(lower).zip(shares) {
        // The upper half of a product of 16 bits is one instruction; one bit more in front makes up for the share's sign.
        let difference = (i16::from(lower) - i16::from(upper)) << (ROW_BITS + 1);
        let part = ((i32::from(difference) * i32::from(share)) >> 16) as i16;
        *mixed = (i16::from(upper) << ROW_BITS) + part;
    }
}

/// For each pixel of the result its two neighbours in a mixed row, in places of four numbers that move as one.
#[inline(always)]
fn spread(mixed: &[i16], columns: &[Place], before: &mut [[i16; LANES]], behind: &mut [[i16; LANES]]) {
    let at = |column: u32| {
        let start = column as usize * COLOURS;
        mixed.get(start..start + LANES).and_then(|pixel| pixel.try_into().ok()).unwrap_or_default()
    };
    for ((place, before), behind) in columns.iter().zip(before).zip(behind) {
        *before = at(place.low);
        *behind = at(place.high);
    }
}

/// Neighbours mixed and rounded to whole numbers, in the place of the first.
#[inline(always)]
fn mix_pixels(before: &mut [i16], behind: &[i16], shares: &[i16]) {
    for ((before, &behind), &share) in before.iter_mut().zip(behind).zip(shares) {
        let part = (i32::from((behind - *before) << 1) * i32::from(share)) >> 16;
        *before = (*before + part as i16 + (1 << (ROW_BITS - 1))) >> ROW_BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::{Input, Layout, Preprocess};

    /// The whole image, through a tensor of channels last.
    fn resize(image: &RgbImage, size: Size) -> Vec<u8> {
        let settings = Preprocess { layout: Layout::Nhwc, ..Preprocess::default() };
        let tensor = settings.tensor(image, Input::rgb(size.width, size.height)).unwrap();
        tensor.into_iter().map(|value| value as u8).collect()
    }

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
                // Black and white pixels leave the least room.
                if state >> 30 == 0 { ((state >> 21) as u8 & 1) * 255 } else { (state >> 22) as u8 }
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
            for (at, (fast, slow)) in resize(&image, size).iter().zip(reference(&image, size)).enumerate() {
                let difference = (f64::from(*fast) - slow).abs();
                assert!(difference <= 0.55, "{from_width}x{from_height} to {size}, byte {at}: {fast} for {slow}");
            }
        }
    }

    #[test]
    fn black_and_white_stay_what_they_are() {
        for level in [0, 255] {
            let image = RgbImage::from_pixel(37, 23, image::Rgb([level; 3]));
            assert!(resize(&image, Size { width: 64, height: 11 }).iter().all(|&value| value == level));
        }
    }

    #[test]
    fn shrinking_does_not_blur() {
        let stripes = RgbImage::from_fn(40, 1, |x, _| image::Rgb([if x % 4 < 2 { 0 } else { 255 }; 3]));
        let shrunk = resize(&stripes, Size { width: 10, height: 1 });
        assert!(shrunk.iter().all(|&value| (127..=128).contains(&value)), "{shrunk:?}");
        let points = RgbImage::from_fn(40, 1, |x, _| image::Rgb([if x % 8 == 0 { 255 } else { 0 }; 3]));
        assert!(resize(&points, Size { width: 10, height: 1 }).iter().all(|&value| value == 0));
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image = noise(9, 7);
        assert_eq!(&resize(&image, Size { width: 9, height: 7 }), image.as_raw());
    }
}
