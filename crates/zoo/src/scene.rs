//! The pictures that weights are settled on: discs of all sizes that hide one another ("dead leaves"), which share the scale-free statistics of
//! photographs (A. Lee, D. Mumford, J. Huang: Occlusion models for natural images, 2001). No photograph needs to be shipped, and any size can be drawn.

use crate::convolution::Maps;
use crate::weights::Noise;

/// The same pictures for every seed: the scene is a part of the method, the seed chooses weights.
const SCENE_SEED: u64 = 0x5ce7e;
const DISCS_PER_PICTURE: usize = 600;
const SMALLEST_RADIUS: f32 = 0.015;
const LARGEST_RADIUS: f32 = 0.6;

/// `images` pictures of `size` x `size` pixels, RGB planes, 0..255.
pub(crate) fn paint(images: usize, size: usize) -> Maps {
    let mut maps = Maps::zeros(3, images, size, size);
    for image in 0..images {
        let mut noise = Noise::new(SCENE_SEED, image as u64);
        let mood = Mood::draw(&mut noise);
        for _ in 0..DISCS_PER_PICTURE {
            Disc::draw(&mut noise, &mood).paint(&mut maps, image);
        }
    }
    maps
}

/// What the discs of one picture share: photographs differ from one another by more than their parts do.
struct Mood {
    brightness: f32,
    contrast: f32,
    tint: [f32; 3],
    saturation: f32,
    smallest_radius: f32,
}

impl Mood {
    fn draw(noise: &mut Noise) -> Self {
        Self {
            brightness: noise.uniform(60.0, 175.0),
            contrast: noise.uniform(25.0, 110.0),
            tint: [15.0 * noise.bell(), 8.0 * noise.bell(), 15.0 * noise.bell()],
            saturation: noise.uniform(5.0, 50.0),
            smallest_radius: noise.uniform(SMALLEST_RADIUS, 6.0 * SMALLEST_RADIUS),
        }
    }
}

/// Lengths are in units of the picture's side.
struct Disc {
    x: f32,
    y: f32,
    radius: f32,
    colour: [f32; 3],
    /// Change of brightness across one radius.
    shading: [f32; 2],
}

impl Disc {
    fn draw(noise: &mut Noise, mood: &Mood) -> Self {
        // Radii with density r^-3, by inversion: even in r^-2.
        let smallest = mood.smallest_radius;
        let inverse_square = noise.uniform(1.0 / (LARGEST_RADIUS * LARGEST_RADIUS), 1.0 / (smallest * smallest));
        let brightness = mood.brightness + mood.contrast * noise.uniform(-1.0, 1.0);
        let mut tint = |channel: usize| brightness + mood.tint[channel] + mood.saturation * noise.bell();
        let colour = [0, 1, 2].map(&mut tint);
        Self {
            x: noise.uniform(-0.1, 1.1),
            y: noise.uniform(-0.1, 1.1),
            radius: 1.0 / inverse_square.sqrt(),
            colour,
            shading: [12.0 * noise.bell(), 12.0 * noise.bell()],
        }
    }

    fn paint(&self, maps: &mut Maps, image: usize) {
        let size = maps.width;
        let scale = 1.0 / size as f32;
        let first = |centre: f32| ((centre - self.radius).max(0.0) * size as f32) as usize;
        let last = |centre: f32| (((centre + self.radius).max(0.0) * size as f32) as usize + 1).min(size);
        for row in first(self.y)..last(self.y) {
            for column in first(self.x)..last(self.x) {
                let dx = ((column as f32 + 0.5) * scale - self.x) / self.radius;
                let dy = ((row as f32 + 0.5) * scale - self.y) / self.radius;
                if dx * dx + dy * dy <= 1.0 {
                    self.colour_pixel(maps, image, row, column, [dx, dy]);
                }
            }
        }
    }

    fn colour_pixel(&self, maps: &mut Maps, image: usize, row: usize, column: usize, [dx, dy]: [f32; 2]) {
        let shade = self.shading[0] * dx + self.shading[1] * dy;
        for (channel, colour) in self.colour.iter().enumerate() {
            let width = maps.width;
            maps.plane_mut(channel, image)[row * width + column] = (colour + shade).clamp(0.0, 255.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_the_contrast_of_photographs() {
        let maps = paint(2, 64);
        let count = maps.data.len() as f64;
        let mean = maps.data.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let deviation = (maps.data.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!((90.0..150.0).contains(&mean), "mean {mean}");
        assert!((45.0..80.0).contains(&deviation), "deviation {deviation}");
        assert!(maps.data.iter().all(|pixel| (0.0..=255.0).contains(pixel)));
    }
}
