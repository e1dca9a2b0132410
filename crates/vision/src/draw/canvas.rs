//! Rectangles and letters in an image; what lies outside is cut off.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};
use embedded_graphics::{Drawable, Pixel};
use image::{Rgb, RgbImage};

/// An image that is drawn into.
pub(super) struct Canvas<'i> {
    image: &'i mut RgbImage,
}

impl<'i> Canvas<'i> {
    pub fn new(image: &'i mut RgbImage) -> Self {
        Self { image }
    }

    /// Fills the columns from `left` to before `right` of the rows from `top` to before `bottom`.
    pub fn fill(&mut self, left: i64, top: i64, right: i64, bottom: i64, colour: Rgb<u8>) {
        let within = |value: i64, limit: u32| value.clamp(0, i64::from(limit)) as u32;
        let (width, height) = self.image.dimensions();
        for y in within(top, height)..within(bottom, height) {
            for x in within(left, width)..within(right, width) {
                self.image.put_pixel(x, y, colour);
            }
        }
    }

    /// Writes a line of text, its upper left corner at `left`, `top`, every dot `dot` pixels wide.
    pub fn text(&mut self, left: i64, top: i64, dot: i64, text: &str, colour: Rgb<u8>, font: &MonoFont<'_>) {
        let mut dots = Dots { canvas: self, left, top, dot, colour };
        let style = MonoTextStyle::new(font, BinaryColor::On);
        let drawn = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut dots);
        let Ok(_) = drawn;
    }
}

/// Letters' dots, each a square of pixels.
struct Dots<'c, 'i> {
    canvas: &'c mut Canvas<'i>,
    left: i64,
    top: i64,
    dot: i64,
    colour: Rgb<u8>,
}

impl OriginDimensions for Dots<'_, '_> {
    fn size(&self) -> Size {
        let (width, height) = self.canvas.image.dimensions();
        Size::new(width, height)
    }
}

impl DrawTarget for Dots<'_, '_> {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, _) in pixels.into_iter().filter(|Pixel(_, state)| state.is_on()) {
            let (x, y) = (self.left + i64::from(point.x) * self.dot, self.top + i64::from(point.y) * self.dot);
            self.canvas.fill(x, y, x + self.dot, y + self.dot, self.colour);
        }
        Ok(())
    }
}
