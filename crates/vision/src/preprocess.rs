//! From an image to the numbers that a network takes.
//!
//! The tensor is `(pixel * scale - mean) / std`, with pixels from 0 to 255 and `mean` and `std` in the tensor's own channel
//! order. Rows of the tensor are shared by the processors.

use image::RgbImage;
use pulp::Arch;
use rayon::prelude::*;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::placement::Placement;
use crate::resize::{Memory, Resized};
use crate::rows::{Writer, tensor_rows};
use crate::size::Size;

/// How an image becomes a network's input: the `preprocess` block of a configuration.
///
/// The default stretches the image to the input and gives RGB from 0 to 255, channels first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocess {
    /// Size of the input, `WIDTHxHEIGHT`; without it, the size that the model's input has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// How an image of other proportions is fitted.
    pub fit: Fit,
    /// Order of the channels.
    pub order: ChannelOrder,
    /// Factor on every pixel, before the mean; not 0.
    #[serde(deserialize_with = "factor")]
    pub scale: f32,
    /// Subtracted from each channel, in the tensor's order.
    #[serde(deserialize_with = "finite")]
    pub mean: [f32; 3],
    /// Each channel's divisor, in the tensor's order; not 0.
    #[serde(deserialize_with = "divisors")]
    pub std: [f32; 3],
    /// Grey level of the padding around a letterboxed image, before scale, mean and std.
    pub pad: u8,
    /// Order of the dimensions.
    pub layout: Layout,
}

/// How an image of other proportions than the input is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Stretched to the input, proportions lost.
    #[default]
    Stretch,
    /// Scaled to fit, in the middle, padded on two sides.
    Letterbox,
    /// Scaled to fit, in the upper left corner, padded right or below.
    LetterboxTopLeft,
}

/// Order of the channels in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first, as OpenCV reads images.
    Bgr,
}

/// Order of the dimensions of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One plane per channel.
    #[default]
    Nchw,
    /// Channels next to each other.
    Nhwc,
}

/// What a network takes: the size of one image, and whether in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Whether the network takes one channel of brightness in place of three of colour.
    pub grey: bool,
}

impl Input {
    /// A colour input.
    pub fn rgb(width: u32, height: u32) -> Self {
        Self { width, height, grey: false }
    }

    /// An input of one channel, which gets the image's brightness.
    pub fn grey(width: u32, height: u32) -> Self {
        Self { width, height, grey: true }
    }

    /// Channels of the tensor.
    pub fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    /// Elements of the tensor of one image.
    pub fn elements(&self) -> usize {
        self.channels() * self.width as usize * self.height as usize
    }
}

impl Default for Preprocess {
    fn default() -> Self {
        Self {
            size: None,
            fit: Fit::default(),
            order: ChannelOrder::default(),
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            pad: 114,
            layout: Layout::default(),
        }
    }
}

impl Preprocess {
    /// Checks what a value made in code may have wrong; one read from a configuration is checked already.
    ///
    /// # Errors
    /// A number is not finite, or `scale` or a `std` is 0.
    pub fn check(&self) -> Result<()> {
        let bad = |key, reason: &str| Err(Error::BadSetting { key, reason: reason.to_owned() });
        match self {
            _ if !is_factor(self.scale) => bad("scale", NOT_A_FACTOR),
            _ if !self.mean.iter().all(|value| value.is_finite()) => bad("mean", NOT_FINITE),
            _ if !self.std.iter().copied().all(is_factor) => bad("std", NOT_A_FACTOR),
            _ => Ok(()),
        }
    }

    /// Where `image` comes to lie in `input`.
    ///
    /// # Errors
    /// The image has no pixels, or the input is of no size that can be taken.
    pub fn placement(&self, image: &RgbImage, input: Input) -> Result<Placement> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::NoPixels);
        }
        Ok(Placement::new(self.fit, Size { width, height }, Size::new(input.width, input.height)?))
    }

    /// The tensor of one image, without a batch dimension.
    ///
    /// # Errors
    /// As [`Preprocess::fill`].
    pub fn tensor(&self, image: &RgbImage, input: Input) -> Result<Vec<f32>> {
        Size::new(input.width, input.height)?;
        let mut tensor = vec![0.0; input.elements()];
        self.fill(image, input, &mut tensor)?;
        Ok(tensor)
    }

    /// Writes the tensor of one image into `tensor`, such as one image's part of a batch.
    ///
    /// # Errors
    /// `tensor` is not [`Input::elements`] long, the image has no pixels, a setting is unusable ([`Preprocess::check`]).
    pub fn fill(&self, image: &RgbImage, input: Input, tensor: &mut [f32]) -> Result<()> {
        self.check()?;
        let placement = self.placement(image, input)?;
        if tensor.len() != input.elements() {
            return Err(Error::TensorLength { expected: input.elements(), actual: tensor.len() });
        }
        let Self { scale, mean, std, order, layout, pad, .. } = *self;
        let writer = Writer { scale, mean, std, order, layout, input, pad };
        let resized = Resized::new(image, placement.size);
        let rows = tensor_rows(tensor, input, self.layout);
        let processor = Arch::new();
        rows.into_par_iter().enumerate().with_min_len(LEAST_ROWS).for_each_init(
            Memory::default,
            |memory, (row, cells)| {
                let inside = (row as u32).checked_sub(placement.top).filter(|row| *row < placement.size.height);
                match inside {
                    None => writer.write(cells, 0, 0, std::iter::empty()),
                    Some(row) => processor.dispatch(
                        #[inline(always)]
                        || resized.write_row(row as usize, memory, &writer, cells, placement.left as usize),
                    ),
                }
            },
        );
        Ok(())
    }
}

/// Rows that are worth a thread.
const LEAST_ROWS: usize = 64;
const NOT_FINITE: &str = "every number must be finite";
const NOT_A_FACTOR: &str = "every number must be finite and other than 0";

fn is_factor(value: f32) -> bool {
    value.is_finite() && value != 0.0
}

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(deserializer)?;
    if is_factor(value) { Ok(value) } else { Err(serde::de::Error::custom(NOT_A_FACTOR)) }
}

fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f32; 3], D::Error> {
    let values = <[f32; 3]>::deserialize(deserializer)?;
    let valid = values.iter().all(|value| value.is_finite());
    if valid { Ok(values) } else { Err(serde::de::Error::custom(NOT_FINITE)) }
}

fn divisors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f32; 3], D::Error> {
    let values = <[f32; 3]>::deserialize(deserializer)?;
    if values.into_iter().all(is_factor) { Ok(values) } else { Err(serde::de::Error::custom(NOT_A_FACTOR)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn image(width: u32, pixels: &[[u8; 3]]) -> RgbImage {
        RgbImage::from_fn(width, pixels.len() as u32 / width, |x, y| Rgb(pixels[(y * width + x) as usize]))
    }

    fn preprocess(fit: Fit) -> Preprocess {
        Preprocess { fit, pad: 9, ..Preprocess::default() }
    }

    const RED: [u8; 3] = [10, 20, 30];
    const BLUE: [u8; 3] = [40, 50, 60];

    #[test]
    fn planes_follow_each_other() {
        let tensor = preprocess(Fit::Stretch).tensor(&image(2, &[RED, BLUE]), Input::rgb(2, 1)).unwrap();
        assert_eq!(tensor, [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);
    }

    #[test]
    fn channels_can_be_turned_round_and_interleaved() {
        let bgr = Preprocess { order: ChannelOrder::Bgr, ..Preprocess::default() };
        let input = Input::rgb(2, 1);
        assert_eq!(bgr.tensor(&image(2, &[RED, BLUE]), input).unwrap(), [30.0, 60.0, 20.0, 50.0, 10.0, 40.0]);
        let interleaved = Preprocess { layout: Layout::Nhwc, ..bgr };
        assert_eq!(interleaved.tensor(&image(2, &[RED, BLUE]), input).unwrap(), [30.0, 20.0, 10.0, 60.0, 50.0, 40.0]);
    }

    #[test]
    fn mean_and_std_are_in_the_tensors_order() {
        let settings = Preprocess {
            order: ChannelOrder::Bgr,
            scale: 0.5,
            mean: [1.0, 2.0, 3.0],
            std: [2.0, 4.0, 8.0],
            ..Preprocess::default()
        };
        let tensor = settings.tensor(&image(1, &[RED]), Input::rgb(1, 1)).unwrap();
        assert_eq!(tensor, [(15.0 - 1.0) / 2.0, (10.0 - 2.0) / 4.0, (5.0 - 3.0) / 8.0]);
    }

    #[test]
    fn stretching_interpolates() {
        let two = image(2, &[[0, 0, 0], [100, 100, 100]]);
        let tensor = preprocess(Fit::Stretch).tensor(&two, Input::rgb(4, 1)).unwrap();
        assert_eq!(&tensor[..4], [0.0, 25.0, 75.0, 100.0]);
    }

    #[test]
    fn letterbox_pads_both_sides() {
        let wide = image(4, &[RED; 4]);
        let tensor = preprocess(Fit::Letterbox).tensor(&wide, Input::rgb(4, 4)).unwrap();
        let mut expected = [9.0; 16];
        expected[4..8].fill(10.0);
        assert_eq!(&tensor[..16], expected);
        let tall = image(1, &[RED; 3]);
        let tensor = preprocess(Fit::Letterbox).tensor(&tall, Input::rgb(3, 3)).unwrap();
        assert_eq!(&tensor[..9], [9.0, 10.0, 9.0, 9.0, 10.0, 9.0, 9.0, 10.0, 9.0]);
    }

    #[test]
    fn letterbox_top_left_pads_the_far_sides() {
        let wide = image(4, &[RED; 4]);
        let tensor = preprocess(Fit::LetterboxTopLeft).tensor(&wide, Input::rgb(4, 2)).unwrap();
        assert_eq!(&tensor[..8], [10.0, 10.0, 10.0, 10.0, 9.0, 9.0, 9.0, 9.0]);
        let tall = image(1, &[BLUE; 2]);
        let settings = Preprocess { layout: Layout::Nhwc, ..preprocess(Fit::LetterboxTopLeft) };
        let tensor = settings.tensor(&tall, Input::rgb(2, 2)).unwrap();
        assert_eq!(tensor, [40.0, 50.0, 60.0, 9.0, 9.0, 9.0, 40.0, 50.0, 60.0, 9.0, 9.0, 9.0]);
    }

    #[test]
    fn grey_inputs_get_brightness() {
        let colours = image(3, &[[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        let tensor = Preprocess::default().tensor(&colours, Input::grey(3, 1)).unwrap();
        assert_eq!(tensor, [76.0, 150.0, 29.0]);
    }

    #[test]
    fn a_part_of_a_batch_is_filled_alone() {
        let mut batch = vec![-1.0; 6];
        Preprocess::default().fill(&image(1, &[RED]), Input::rgb(1, 1), &mut batch[3..]).unwrap();
        assert_eq!(batch, [-1.0, -1.0, -1.0, 10.0, 20.0, 30.0]);
        let error = Preprocess::default().fill(&image(1, &[RED]), Input::rgb(1, 1), &mut batch).unwrap_err();
        assert!(matches!(error, Error::TensorLength { expected: 3, actual: 6 }));
    }

    #[test]
    fn what_cannot_be_computed_is_refused() {
        let pixel = image(1, &[RED]);
        let tensor = |settings: Preprocess, input| settings.tensor(&pixel, input).unwrap_err();
        let zero = Preprocess { std: [1.0, 0.0, 1.0], ..Preprocess::default() };
        assert!(matches!(tensor(zero, Input::rgb(1, 1)), Error::BadSetting { key: "std", .. }));
        let endless = Preprocess { scale: f32::INFINITY, ..Preprocess::default() };
        assert!(matches!(tensor(endless, Input::rgb(1, 1)), Error::BadSetting { key: "scale", .. }));
        assert!(matches!(tensor(Preprocess::default(), Input::rgb(0, 1)), Error::BadSize { .. }));
        assert!(matches!(tensor(Preprocess::default(), Input::rgb(u32::MAX, u32::MAX)), Error::BadSize { .. }));
        let empty = RgbImage::new(0, 5);
        assert!(matches!(Preprocess::default().tensor(&empty, Input::rgb(1, 1)), Err(Error::NoPixels)));
    }

    #[test]
    fn the_block_is_read_key_by_key() {
        let text = r#"{"size":"640x480","fit":"letterbox-top-left","order":"bgr","scale":0.5,
            "mean":[1,2,3],"std":[4,5,6],"pad":7,"layout":"nhwc"}"#;
        let settings: Preprocess = serde_json::from_str(text).unwrap();
        let expected = Preprocess {
            size: Some(Size { width: 640, height: 480 }),
            fit: Fit::LetterboxTopLeft,
            order: ChannelOrder::Bgr,
            scale: 0.5,
            mean: [1.0, 2.0, 3.0],
            std: [4.0, 5.0, 6.0],
            pad: 7,
            layout: Layout::Nhwc,
        };
        assert_eq!(settings, expected);
        let back = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Preprocess>(&back).unwrap(), settings);
        assert_eq!(serde_json::from_str::<Preprocess>("{}").unwrap(), Preprocess::default());
    }

    #[test]
    fn mistakes_in_the_block_are_refused() {
        let texts = [
            r#"{"sise":"640x480"}"#,
            r#"{"fit":"crop"}"#,
            r#"{"std":[1,1,0]}"#,
            r#"{"scale":0}"#,
            r#"{"mean":[1,2]}"#,
            r#"{"pad":256}"#,
            r#"{"size":"640"}"#,
        ];
        for text in texts {
            assert!(serde_json::from_str::<Preprocess>(text).is_err(), "{text}");
        }
    }
}
