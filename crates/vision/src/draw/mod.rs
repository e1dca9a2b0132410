//! Boxes with labels, drawn into a photograph.
//!
//! Lines and letters grow with the photograph, and a class has the same colour in all of them. The surest box is drawn last
//! and so is whole. What lies outside is cut off; nothing here can fail.

mod canvas;
mod colour;

use embedded_graphics::mono_font::iso_8859_1::FONT_9X15_BOLD;
use image::{Rgb, RgbImage};

use crate::classes::ClassNames;
use crate::detection::Detection;
use canvas::Canvas;
use colour::{class_colour, text_colour};

/// Pixels of the shorter side of a photograph per pixel of a line.
const SIDE_PER_LINE: u32 = 240;
/// Pixels of the shorter side of a photograph per pixel of a letter's dots.
const SIDE_PER_DOT: u32 = 700;
/// Width and height of a letter, in dots.
const LETTER: (i64, i64) = (FONT_9X15_BOLD.character_size.width as i64, FONT_9X15_BOLD.character_size.height as i64);
/// Dots left free around a label's letters.
const MARGIN: i64 = 2;

/// Draws every detection: its box, its class and its score.
pub fn annotate(image: &mut RgbImage, detections: &[Detection], names: &ClassNames) {
    let side = image.width().min(image.height());
    let line = i64::from((side / SIDE_PER_LINE).max(1));
    let dot = i64::from((side / SIDE_PER_DOT).max(1));
    let mut order: Vec<&Detection> = detections.iter().collect();
    order.sort_by(|a, b| a.score.total_cmp(&b.score));
    for detection in order {
        let colour = class_colour(detection.class);
        frame(image, detection, line, colour);
        let text = format!("{} {:.2}", names.label(detection.class), detection.score);
        label(image, detection, &text, dot, colour);
    }
}

/// The pixel a coordinate falls on; far away ones are far enough a million pixels off.
fn pixel(coordinate: f32) -> i64 {
    coordinate.clamp(-1e6, 1e6).round() as i64
}

/// A rectangle of four lines, drawn inwards from the box's sides.
fn frame(image: &mut RgbImage, detection: &Detection, line: i64, colour: Rgb<u8>) {
    let bounds = detection.bounds;
    let (left, top) = (pixel(bounds.left), pixel(bounds.top));
    let (right, bottom) = (pixel(bounds.right).max(left + 1), pixel(bounds.bottom).max(top + 1));
    let mut canvas = Canvas::new(image);
    let (below, beside) = ((top + line).min(bottom), (left + line).min(right));
    canvas.fill(left, top, right, below, colour);
    canvas.fill(left, (bottom - line).max(top), right, bottom, colour);
    canvas.fill(left, top, beside, bottom, colour);
    canvas.fill((right - line).max(left), top, right, bottom, colour);
}

/// The label above the box; inside where there is no room above, and never beyond the right edge as far as it fits.
fn label(image: &mut RgbImage, detection: &Detection, text: &str, dot: i64, colour: Rgb<u8>) {
    let letters = text.chars().count() as i64;
    let (width, height) = ((letters * LETTER.0 + 2 * MARGIN) * dot, (LETTER.1 + 2 * MARGIN) * dot);
    let room = i64::from(image.width()) - width;
    let left = pixel(detection.bounds.left).min(room).max(0);
    let above = pixel(detection.bounds.top) - height;
    let top = if above >= 0 { above } else { above + height };
    let mut canvas = Canvas::new(image);
    canvas.fill(left, top, left + width, top + height, colour);
    canvas.text(left + MARGIN * dot, top + MARGIN * dot, dot, text, text_colour(colour), &FONT_9X15_BOLD);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::BoundingBox;
    use proptest::prelude::*;

    fn detection(left: f32, top: f32, right: f32, bottom: f32, class: u32) -> Detection {
        Detection { bounds: BoundingBox::corners(left, top, right, bottom), score: 0.87, class }
    }

    #[test]
    fn a_box_has_four_lines_and_a_label_above() {
        let mut image = RgbImage::new(200, 200);
        annotate(&mut image, &[detection(20.0, 60.0, 180.0, 150.0, 0)], &ClassNames::coco());
        let colour = class_colour(0);
        for (x, y) in [(20, 100), (179, 100), (100, 149), (100, 60), (21, 60 - 18)] {
            assert_eq!(*image.get_pixel(x, y), colour, "{x}, {y}");
        }
        for (x, y) in [(100, 100), (19, 100), (180, 100), (100, 150), (20, 40)] {
            assert_eq!(*image.get_pixel(x, y), Rgb([0; 3]), "{x}, {y}");
        }
        let label = |x: u32, y: u32| *image.get_pixel(20 + x, 60 - 19 + y);
        let written =
            (0..19).flat_map(|y| (0..100).map(move |x| (x, y))).filter(|&(x, y)| label(x, y) == text_colour(colour));
        let dots = written.count();
        assert!((100..600).contains(&dots), "{dots} dots of letters");
    }

    #[test]
    fn letters_have_their_shapes() {
        let mut image = RgbImage::new(40, 20);
        Canvas::new(&mut image).text(0, 0, 1, "I", Rgb([255; 3]), &FONT_9X15_BOLD);
        let rows: Vec<String> =
            (0..15).map(|y| (0..9).map(|x| if image.get_pixel(x, y).0[0] > 0 { '#' } else { '.' }).collect()).collect();
        let stem = rows.iter().filter(|row| row.contains("##")).count();
        assert!(stem >= 8, "{rows:#?}");
    }

    #[test]
    fn a_box_at_the_upper_edge_has_its_label_inside() {
        let mut image = RgbImage::new(200, 200);
        annotate(&mut image, &[detection(150.0, 2.0, 199.0, 100.0, 7)], &ClassNames::default());
        assert_eq!(*image.get_pixel(199, 3), class_colour(7));
        assert_eq!(*image.get_pixel(160, 0), Rgb([0; 3]));
    }

    proptest! {
        #[test]
        fn nothing_that_is_drawn_makes_it_panic(
            width in 1u32..80, height in 1u32..80, sides in proptest::array::uniform4(-1e9f32..1e9), class in any::<u32>(),
        ) {
            let mut image = RgbImage::new(width, height);
            let [left, top, right, bottom] = sides;
            let wrong = detection(f32::NAN, f32::INFINITY, -1.0, f32::MAX, class);
            annotate(&mut image, &[detection(left, top, right, bottom, class), wrong], &ClassNames::default());
            prop_assert_eq!(image.dimensions(), (width, height));
        }
    }
}
