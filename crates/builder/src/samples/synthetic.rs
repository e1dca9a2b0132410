//! Made-up inputs: pictures with smooth areas, edges and noise for image inputs, normal numbers for other floats, small counts for integers.
//!
//! Seeded by input and sample index, so a build without data gives the same result every time.

use super::{SampleInput, images, pack};
use crate::{Error, Result};
use trtforge_graph::{ElementType, Tensor};
use trtforge_vision::{Preprocess, RgbImage};

pub(super) fn tensor(input: &SampleInput, preprocess: &Preprocess, index: u64) -> Result<Tensor> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ index.wrapping_mul(0xD134_2543_DE82_EF95));
    if let Some(layout) = images::image_layout(input, preprocess) {
        let mut values = Vec::with_capacity(input.shape.iter().product::<u64>() as usize);
        for _ in 0..input.shape[0] {
            let picture = picture(layout.width, layout.height, &mut random);
            let pixels = preprocess.tensor(&picture, layout);
            values.extend(pixels.map_err(|error| Error::Samples(format!("input `{}`: {error}", input.name)))?);
        }
        return pack(input, values);
    }
    let count = input.shape.iter().product::<u64>();
    let values = (0..count)
        .map(|_| if input.element.is_float() { random.normal() } else { (random.uniform() * 2.0).floor() })
        .collect();
    let values = if input.element == ElementType::Bool { vec![1.0; count as usize] } else { values };
    pack(input, values)
}

/// The SplitMix64 generator (Steele, Lea and Flood, 2014): tiny, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Sum of twelve uniforms, centred: near enough to a standard normal, and without transcendental functions.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// A gradient, a few rectangles on it, and noise over all.
fn picture(width: u32, height: u32, random: &mut Random) -> RgbImage {
    let corners: Vec<f32> = (0..12).map(|_| random.uniform() * 255.0).collect();
    let mut image = RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let channel = |c: usize| {
            let top = corners[c] * (1.0 - u) + corners[3 + c] * u;
            let bottom = corners[6 + c] * (1.0 - u) + corners[9 + c] * u;
            (top * (1.0 - v) + bottom * v) as u8
        };
        [channel(0), channel(1), channel(2)].into()
    });
    for _ in 0..24 {
        rectangle(&mut image, random);
    }
    for pixel in image.pixels_mut() {
        let noise = (random.uniform() - 0.5) * 24.0;
        pixel.0 = pixel.0.map(|value| (f32::from(value) + noise).clamp(0.0, 255.0) as u8);
    }
    image
}

fn rectangle(image: &mut RgbImage, random: &mut Random) {
    let (width, height) = image.dimensions();
    let mut place = |extent: u32| {
        let from = (random.uniform() * extent as f32) as u32;
        (from, (from + 1 + (random.uniform() * extent as f32 * 0.4) as u32).min(extent))
    };
    let ((left, right), (top, bottom)) = (place(width), place(height));
    let colour = [random.next() as u8, random.next() as u8, random.next() as u8];
    for y in top..bottom {
        for x in left..right {
            image.put_pixel(x, y, colour.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(element: ElementType, shape: &[u64]) -> SampleInput {
        SampleInput { name: "x".into(), element, shape: shape.to_vec() }
    }

    #[test]
    fn the_same_every_time_and_different_per_sample() {
        let input = input(ElementType::Float32, &[1, 3, 32, 48]);
        let make = |index| tensor(&input, &Preprocess::default(), index).unwrap();
        assert_eq!(make(0).data, make(0).data);
        assert_ne!(make(0).data, make(1).data);
    }

    #[test]
    fn pictures_use_the_whole_range() {
        let tensor = tensor(&input(ElementType::Float32, &[1, 3, 64, 64]), &Preprocess::default(), 0).unwrap();
        let values = tensor.to_vec_f32().unwrap();
        let (min, max) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
        assert!((0.0..30.0).contains(&min) && (220.0..=255.0).contains(&max), "{min} {max}");
    }

    #[test]
    fn every_element_type_is_served() {
        for element in
            [ElementType::Int64, ElementType::Int32, ElementType::Bool, ElementType::Float16, ElementType::UInt8]
        {
            assert_eq!(tensor(&input(element, &[2, 7]), &Preprocess::default(), 0).unwrap().shape, [2, 7]);
        }
    }
}
