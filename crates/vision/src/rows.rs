//! Rows of pixels into the rows of a tensor, whatever its layout.
//!
//! Every value is a table look-up, since there are only 256 values of each colour.

use crate::preprocess::{ChannelOrder, Input, Layout};
use crate::resize::COLOURS;

/// What each value of a pixel becomes, for each channel of the tensor.
pub(crate) type Tables = [[f32; 256]; COLOURS];

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
    /// Tables by channel.
    pub tables: Tables,
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
    #[inline]
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
        let value = |channel: usize| self.tables[channel][usize::from(self.pad)];
        if channels == 1 {
            cells.fill(value(channel));
        } else {
            cells.iter_mut().enumerate().for_each(|(at, cell)| *cell = value(at % channels));
        }
    }

    fn write_grey(&self, [cells, ..]: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        let table = &self.tables[0];
        cells.iter_mut().zip(pixels).for_each(|(cell, rgb)| *cell = table[usize::from(brightness(rgb))]);
    }

    fn write_together(&self, [cells, ..]: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        let [first, second, third] = &self.tables;
        for (cell, mut rgb) in cells.as_chunks_mut::<COLOURS>().0.iter_mut().zip(pixels) {
            if self.order == ChannelOrder::Bgr {
                rgb.swap(0, 2);
            }
            *cell = [first[usize::from(rgb[0])], second[usize::from(rgb[1])], third[usize::from(rgb[2])]];
        }
    }

    #[inline]
    fn write_apart(&self, planes: [&mut [f32]; COLOURS], pixels: impl Iterator<Item = [u8; COLOURS]>) {
        let [first, second, third] = planes;
        let [first_table, second_table, third_table] = &self.tables;
        // Red goes where red belongs, so that the loop has no choice in it.
        let ((red, red_table), (blue, blue_table)) = match self.order {
            ChannelOrder::Rgb => ((first, first_table), (third, third_table)),
            ChannelOrder::Bgr => ((third, third_table), (first, first_table)),
        };
        for (((red, green), blue), rgb) in red.iter_mut().zip(second).zip(blue).zip(pixels) {
            *red = red_table[usize::from(rgb[0])];
            *green = second_table[usize::from(rgb[1])];
            *blue = blue_table[usize::from(rgb[2])];
        }
    }
}

/// The brightness of an RGB pixel by ITU-R BT.601, as OpenCV computes it.
fn brightness(rgb: [u8; COLOURS]) -> u8 {
    let level = 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
    level.round() as u8
}
