//! A colour for every class, as far from those of its neighbours as it can be.

use image::Rgb;

/// The golden angle: however many colours are taken, none lies close to the ones just before it.
const STEP_DEGREES: f64 = 137.507_764;

/// The colour of a class; red for the first.
pub(super) fn class_colour(class: u32) -> Rgb<u8> {
    let hue = (f64::from(class) * STEP_DEGREES).rem_euclid(360.0);
    let value = if (class / 16).is_multiple_of(2) { 1.0 } else { 0.75 };
    Rgb(hue_saturation_value(hue, 0.85, value))
}

/// Black or white, whichever is read more easily on that colour.
pub(super) fn text_colour(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    let brightness = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
    Rgb([if brightness > 128_000 { 0 } else { 255 }; 3])
}

fn hue_saturation_value(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    let channel = |offset: f64| {
        let place = (offset + hue / 60.0) % 6.0;
        let level = value - value * saturation * place.min(4.0 - place).clamp(0.0, 1.0);
        (level * 255.0).round() as u8
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_are_where_they_belong() {
        assert_eq!(hue_saturation_value(0.0, 1.0, 1.0), [255, 0, 0]);
        assert_eq!(hue_saturation_value(120.0, 1.0, 1.0), [0, 255, 0]);
        assert_eq!(hue_saturation_value(240.0, 1.0, 0.5), [0, 0, 128]);
    }

    #[test]
    fn no_two_of_coco_s_classes_look_alike() {
        let colours: Vec<[i32; 3]> = (0..80).map(|class| class_colour(class).0.map(i32::from)).collect();
        for (index, a) in colours.iter().enumerate() {
            for b in &colours[..index] {
                let distance: i32 = a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum();
                assert!(distance > 5, "{a:?} and {b:?}");
            }
        }
    }
}
