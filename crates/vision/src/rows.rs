//! Rows of pixels into the rows of a tensor, whatever its layout.

use crate::preprocess::{ChannelOrder, Input, Layout};
use crate::resize::COLOURS;

/// One row of a tensor: with channels first a slice for each channel, else one slice for all.
pub(crate) struct TensorRow<'t> {
    slices: [&'t mut [f32]; COLOURS],
}

/// The rows of the tensor of one image, from the top.
pub(crate) fn tensor_rows<'t>(tensor: &'t mut [f32], input: Input, layout: Layout) -> Vec<TensorRow<'t>> {
    let (width, height) = (input.width as usize, input.height as usize);
    if layout == Layout::Nhwc || input.grey {
        let rows = tensor.chunks_exact_mut(width * input.channels());
        return rows.map(|row| TensorRow { slices: [row, &mut [], &mut []] }).collect();
    }
    let (first, rest) = tensor.split_at_mut(width * height);
    let (second, third) = rest.split_at_mut(width * height);
    let [first, second, third] = [first, second, third].map(|plane| plane.chunks_exact_mut(width));
    let rows = first.zip(second).zip(third);
    rows.map(|((first, second), third)| TensorRow { slices: [first, second, third] }).collect()
}

/// How pixels become values.
pub(crate) struct Writer {
    /// Factor on every pixel.
    pub scale: f32,
    /// Subtracted from each channel.
    pub mean: [f32; COLOURS],
    /// Each channel's divisor.
    pub std: [f32; COLOURS],
    /// Order of the channels.
    pub order: ChannelOrder,
    /// Order of the dimensions.
    pub layout: Layout,
    /// What the network takes.
    pub input: Input,
    /// Grey level of the padding.
    pub pad: u8,
}

impl Writer {
    /// Fills the row: padding, `pixels` from column `left` on, padding.
    #[inline(always)]
    pub fn write(&self, row: TensorRow<'_>, left: usize, width: usize, pixels: impl Iterator<Item = [u8; COLOURS]>) {
        let channels = if self.layout == Layout::Nhwc || self.input.grey { self.input.channels() } else { 1 };
        let mut inside: [&mut [f32]; COLOURS] = [&mut [], &mut [], &mut []];
        for (channel, (slice, inside)) in row.slices.into_iter().zip(&mut inside).enumerate() {
            if !slice.is_empty() {
                let (before, rest) = slice.split_at_mut(left * channels);
                let (middle, behind) = rest.split_at_mut(width * channels);
                self.pad(before, channel, channels);
                self.pad(behind, channel, channels);
                *inside = middle;
            }
        }
        match (self.input.grey, self.layout) {
            (true, _) => self.write_grey(inside, pixels),
            (false, Layout::Nhwc) => self.write_together(inside, pixels),
            (false, Layout::Nchw) => self.write_apart(inside, pixels),
        }
    }

    fn pad(&self, cells: &mut [f32], channel: usize, channels: usize) {
        let value = |channel: usize| self.value(channel, self.pad);
        if channels == 1 {
            cells.fill(value(channel));
        } else {
            cells.iter_mut().enumerate().for_each(|(at, cell)| *cell = value(at % channels));
        }
    }

    /// What a value of a pixel becomes in a channel of the tensor.
    #[inline(always)]
    fn value(&self, channel: usize, pixel: u8) -> f32 {
        (f32::from(pixel) * self.scale - self.mean[channel]) / self.std[channel]
    }

    #[inline(always)]
    fn write_grey(&self, [cells, ..]: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        cells.iter_mut().zip(pixels).for_each(|(cell, rgb)| *cell = self.value(0, brightness(rgb)));
    }

    #[inline(always)]
    fn write_together(&self, [cells, ..]: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        for (cell, mut rgb) in cells.as_chunks_mut::<COLOURS>().0.iter_mut().zip(pixels) {
            if self.order == ChannelOrder::Bgr {
                rgb.swap(0, 2);
            }
            *cell = std::array::from_fn(|channel| self.value(channel, rgb[channel]));
        }
    }

    #[inline(always)]
    fn write_apart(&self, planes: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        let [first, second, third] = planes;
        // Red goes where red belongs, so that the loop has no choice in it.
        let ((red, red_channel), (blue, blue_channel)) = match self.order {
            ChannelOrder::Rgb => ((first, 0), (third, 2)),
            ChannelOrder::Bgr => ((third, 2), (first, 0)),
        };
        for (((red, green), blue), rgb) in red.iter_mut().zip(second).zip(blue).zip(pixels) {
            *red = self.value(red_channel, rgb[0]);
            *green = self.value(1, rgb[1]);
            *blue = self.value(blue_channel, rgb[2]);
        }
    }
}

/// The brightness of an RGB pixel by ITU-R BT.601, as OpenCV computes it.
fn brightness(rgb: [u8; COLOURS]) -> u8 {
    let level = 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
    level.round() as u8
}
