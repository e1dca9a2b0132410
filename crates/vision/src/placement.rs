//! Where an image comes to lie in a network's input.
//!
//! Pure arithmetic, needed twice: to fill the input, and to bring boxes back from it to the image.

use crate::preprocess::Fit;
use crate::size::Size;

/// Where an image lies in a network's input, and how much it was scaled. The rest is padding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Columns of padding left of the image.
    pub left: u32,
    /// Rows of padding above the image.
    pub top: u32,
    /// Size of the image in the input.
    pub size: Size,
    /// Input pixels per image pixel, across.
    pub scale_x: f32,
    /// Input pixels per image pixel, down.
    pub scale_y: f32,
}

impl Placement {
    /// Places an image of size `image` in an input of size `input`.
    pub fn new(fit: Fit, image: Size, input: Size) -> Self {
        let size = match fit {
            Fit::Stretch => input,
            Fit::Letterbox | Fit::LetterboxTopLeft => fitted(image, input),
        };
        let centre = fit == Fit::Letterbox;
        let padding = |outer: u32, inner: u32| if centre { (outer - inner) / 2 } else { 0 };
        Self {
            left: padding(input.width, size.width),
            top: padding(input.height, size.height),
            size,
            scale_x: size.width as f32 / image.width as f32,
            scale_y: size.height as f32 / image.height as f32,
        }
    }

    /// The image's coordinates of the point (`x`, `y`) of the input.
    pub fn to_image(&self, x: f32, y: f32) -> (f32, f32) {
        ((x - self.left as f32) / self.scale_x, (y - self.top as f32) / self.scale_y)
    }
}

/// The largest size with the proportions of `image` that fits into `input`, at least one pixel each way.
fn fitted(image: Size, input: Size) -> Size {
    let across = f64::from(input.width) / f64::from(image.width);
    let down = f64::from(input.height) / f64::from(image.height);
    let ratio = across.min(down);
    let side = |length: u32, limit: u32| ((f64::from(length) * ratio).round() as u32).clamp(1, limit);
    Size { width: side(image.width, input.width), height: side(image.height, input.height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn stretching_fills_the_input() {
        let placed = Placement::new(Fit::Stretch, size(100, 50), size(640, 640));
        assert_eq!((placed.left, placed.top, placed.size), (0, 0, size(640, 640)));
        assert_eq!((placed.scale_x, placed.scale_y), (6.4, 12.8));
    }

    #[test]
    fn letterboxes_keep_proportions() {
        let placed = Placement::new(Fit::Letterbox, size(200, 100), size(640, 640));
        assert_eq!((placed.left, placed.top, placed.size), (0, 160, size(640, 320)));
        let placed = Placement::new(Fit::LetterboxTopLeft, size(200, 100), size(640, 640));
        assert_eq!((placed.left, placed.top, placed.size), (0, 0, size(640, 320)));
        let placed = Placement::new(Fit::Letterbox, size(3, 1000), size(11, 10));
        assert_eq!((placed.left, placed.top, placed.size), (5, 0, size(1, 10)));
    }

    #[test]
    fn points_come_back() {
        let placed = Placement::new(Fit::Letterbox, size(200, 100), size(640, 640));
        assert_eq!(placed.to_image(320.0, 320.0), (100.0, 50.0));
        assert_eq!(placed.to_image(0.0, 160.0), (0.0, 0.0));
    }
}
