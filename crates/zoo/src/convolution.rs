//! Feature maps in memory and the few operations that settling needs, at low resolution.
//!
//! Borders are continued by their nearest pixel, where the real network pads with zeros: on maps of a few cells nearly every cell touches a border, and
//! statistics taken there must stand for the interior of a real map. Every sum runs in one fixed order, whatever the number of threads.

use rayon::prelude::*;

use crate::network::Convolution;

/// Positions per panel: the columns of the matrix product that are summed side by side.
const PANEL: usize = 8;
/// Output channels that share one pass over a panel.
const ROWS: usize = 4;

/// Maps of several images: channel, image, row, column.
#[derive(Debug, Clone)]
pub(crate) struct Maps {
    pub(crate) channels: usize,
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) data: Vec<f32>,
}

impl Maps {
    pub(crate) fn zeros(channels: usize, images: usize, height: usize, width: usize) -> Self {
        let data = vec![0.0; channels * images * height * width];
        Self { channels, images, height, width, data }
    }

    /// Values of one channel over all images.
    pub(crate) fn positions(&self) -> usize {
        self.images * self.height * self.width
    }

    pub(crate) fn plane(&self, channel: usize, image: usize) -> &[f32] {
        let size = self.height * self.width;
        &self.data[(channel * self.images + image) * size..][..size]
    }

    pub(crate) fn plane_mut(&mut self, channel: usize, image: usize) -> &mut [f32] {
        let size = self.height * self.width;
        &mut self.data[(channel * self.images + image) * size..][..size]
    }

    /// With `pad` more pixels on every side, each a copy of its nearest neighbour.
    fn padded(&self, pad: usize) -> Self {
        let mut padded = Self::zeros(self.channels, self.images, self.height + 2 * pad, self.width + 2 * pad);
        for_each_plane(self, &mut padded, |input, output, _, width| {
            for (position, value) in output.iter_mut().enumerate() {
                let row = (position / width).saturating_sub(pad).min(self.height - 1);
                let column = (position % width).saturating_sub(pad).min(self.width - 1);
                *value = input[row * self.width + column];
            }
        });
        padded
    }
}

/// Convolution without bias; `kernel` is output channel, input channel, row, column.
pub(crate) fn convolve(input: &Maps, convolution: &Convolution, kernel: &[f32]) -> Maps {
    let along = |length: usize| (length + 2 * convolution.pad() - convolution.kernel) / convolution.stride + 1;
    let mut output = Maps::zeros(convolution.outputs, input.images, along(input.height), along(input.width));
    let padded = input.padded(convolution.pad());
    if convolution.depthwise {
        convolve_each(&padded, convolution, kernel, &mut output);
    } else {
        convolve_all(&padded, convolution, kernel, &mut output);
    }
    output
}

fn convolve_each(input: &Maps, convolution: &Convolution, kernel: &[f32], output: &mut Maps) {
    let window = Window::new(input, convolution, output);
    output.data.par_chunks_mut(window.positions).enumerate().for_each(|(channel, sums)| {
        let kernel = &kernel[channel * window.taps.len()..][..window.taps.len()];
        let channel = &input.data[channel * input.positions()..][..input.positions()];
        for (position, sum) in sums.iter_mut().enumerate() {
            let corner = window.corner(position);
            *sum = kernel.iter().zip(&window.taps).map(|(weight, tap)| weight * channel[corner + tap]).sum();
        }
    });
}

/// As a product of the kernel matrix with the matrix of patches.
fn convolve_all(input: &Maps, convolution: &Convolution, kernel: &[f32], output: &mut Maps) {
    let depth = convolution.fan_in(input.channels);
    let panels = patches(input, convolution, output);
    let positions = output.positions();
    let blocks = output.data.par_chunks_mut(ROWS * positions).zip(kernel.par_chunks(ROWS * depth));
    blocks.for_each(|(sums, kernel)| {
        for (index, panel) in panels.chunks_exact(depth * PANEL).enumerate() {
            store(&product(kernel, panel, depth), sums, index * PANEL, positions);
        }
    });
}

/// Sums of up to `ROWS` output channels at the positions of one panel.
fn product(kernel: &[f32], panel: &[f32], depth: usize) -> [[f32; PANEL]; ROWS] {
    let mut sums = [[0.0_f32; PANEL]; ROWS];
    let (columns, _) = panel.as_chunks::<PANEL>();
    let Some(rows) = four_rows(kernel, depth) else {
        for (row, sums) in kernel.chunks_exact(depth).zip(&mut sums) {
            for (weight, column) in row.iter().zip(columns) {
                accumulate(sums, *weight, column);
            }
        }
        return sums;
    };
    let weights = rows[0].iter().zip(rows[1]).zip(rows[2].iter().zip(rows[3]));
    for (column, ((a, b), (c, d))) in columns.iter().zip(weights) {
        accumulate(&mut sums[0], *a, column);
        accumulate(&mut sums[1], *b, column);
        accumulate(&mut sums[2], *c, column);
        accumulate(&mut sums[3], *d, column);
    }
    sums
}

fn four_rows(kernel: &[f32], depth: usize) -> Option<[&[f32]; ROWS]> {
    let mut rows = kernel.chunks_exact(depth);
    Some([rows.next()?, rows.next()?, rows.next()?, rows.next()?])
}

#[inline(always)]
fn accumulate(sums: &mut [f32; PANEL], weight: f32, column: &[f32; PANEL]) {
    for (sum, value) in sums.iter_mut().zip(column) {
        *sum += weight * value;
    }
}

fn store(block: &[[f32; PANEL]; ROWS], sums: &mut [f32], first: usize, positions: usize) {
    let count = PANEL.min(positions - first);
    for (row, values) in sums.chunks_exact_mut(positions).zip(block) {
        row[first..first + count].copy_from_slice(&values[..count]);
    }
}

/// Panels of `PANEL` positions; in each, for every input channel and tap, the pixels of those positions side by side.
fn patches(input: &Maps, convolution: &Convolution, output: &Maps) -> Vec<f32> {
    let window = Window::new(input, convolution, output);
    let depth = input.channels * window.taps.len();
    let mut panels = vec![0.0; window.positions.div_ceil(PANEL) * depth * PANEL];
    panels.par_chunks_mut(depth * PANEL).enumerate().for_each(|(index, panel)| {
        // Places past the last position repeat it; their sums are never stored.
        let corners: [usize; PANEL] =
            std::array::from_fn(|offset| window.corner((index * PANEL + offset).min(window.positions - 1)));
        let (columns, _) = panel.as_chunks_mut::<PANEL>();
        let channels = input.data.chunks_exact(input.positions()).zip(columns.chunks_exact_mut(window.taps.len()));
        for (channel, columns) in channels {
            for (column, tap) in columns.iter_mut().zip(&window.taps) {
                *column = corners.map(|corner| channel[corner + tap]);
            }
        }
    });
    panels
}

/// Where the pixels under the kernel lie in one channel of a padded input.
struct Window {
    /// Offsets from the kernel's corner.
    taps: Vec<usize>,
    positions: usize,
    output: [usize; 2],
    input: [usize; 2],
    stride: usize,
}

impl Window {
    fn new(padded: &Maps, convolution: &Convolution, output: &Maps) -> Self {
        let size = convolution.kernel;
        Self {
            taps: (0..size * size).map(|tap| tap / size * padded.width + tap % size).collect(),
            positions: output.positions(),
            output: [output.height, output.width],
            input: [padded.height, padded.width],
            stride: convolution.stride,
        }
    }

    /// Index of the kernel's corner for an output position.
    fn corner(&self, position: usize) -> usize {
        let [height, width] = self.output;
        let (image, row, column) = (position / (height * width), position / width % height, position % width);
        (image * self.input[0] + row * self.stride) * self.input[1] + column * self.stride
    }
}

/// Largest value of the `kernel` x `kernel` square around each pixel.
pub(crate) fn max_pool(input: &Maps, kernel: usize) -> Maps {
    let mut output = input.clone();
    let reach = kernel / 2;
    for_each_plane(input, &mut output, |input, output, height, width| {
        for (position, value) in output.iter_mut().enumerate() {
            let (row, column) = (position / width, position % width);
            let columns = column.saturating_sub(reach)..(column + reach + 1).min(width);
            let rows = row.saturating_sub(reach)..(row + reach + 1).min(height);
            let around = rows.flat_map(|row| &input[row * width..][columns.clone()]);
            *value = around.copied().fold(f32::NEG_INFINITY, f32::max);
        }
    });
    output
}

/// Every pixel four times.
pub(crate) fn upsample(input: &Maps) -> Maps {
    let mut output = Maps::zeros(input.channels, input.images, 2 * input.height, 2 * input.width);
    for_each_plane(input, &mut output, |input, output, _, width| {
        for (position, value) in output.iter_mut().enumerate() {
            let (row, column) = (position / width, position % width);
            *value = input[row / 2 * (width / 2) + column / 2];
        }
    });
    output
}

/// Four channel blocks of half the size, in the order (row, column) = (0,0), (1,0), (0,1), (1,1).
pub(crate) fn space_to_depth(input: &Maps) -> Maps {
    let mut output = Maps::zeros(4 * input.channels, input.images, input.height / 2, input.width / 2);
    let half_width = output.width;
    for channel in 0..output.channels {
        let block = channel / input.channels;
        for image in 0..input.images {
            let source = input.plane(channel % input.channels, image);
            for (position, value) in output.plane_mut(channel, image).iter_mut().enumerate() {
                let row = 2 * (position / half_width) + block % 2;
                *value = source[row * input.width + 2 * (position % half_width) + block / 2];
            }
        }
    }
    output
}

/// Calls `fill` with each input plane, its output plane and the output's height and width.
fn for_each_plane(input: &Maps, output: &mut Maps, fill: impl Fn(&[f32], &mut [f32], usize, usize)) {
    let (height, width) = (output.height, output.width);
    for channel in 0..input.channels {
        for image in 0..input.images {
            fill(input.plane(channel, image), output.plane_mut(channel, image), height, width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Noise;

    fn noise(channels: usize, images: usize, height: usize, width: usize) -> Maps {
        let mut maps = Maps::zeros(channels, images, height, width);
        let mut noise = Noise::new(3, 3);
        maps.data.iter_mut().for_each(|value| *value = noise.bell());
        maps
    }

    /// One value by the definition.
    fn slowly(input: &Maps, convolution: &Convolution, kernel: &[f32], channel: usize, place: [usize; 3]) -> f64 {
        let size = convolution.kernel;
        let depth = convolution.fan_in(input.channels) / (size * size);
        let [image, row, column] = place;
        let mut sum = 0.0;
        for inner in 0..depth {
            for tap in 0..size * size {
                let source = if convolution.depthwise { channel } else { inner };
                let along = |position: usize, tap: usize, length: usize| {
                    let at = (position * convolution.stride + tap) as isize - convolution.pad() as isize;
                    at.clamp(0, length as isize - 1) as usize
                };
                let pixel = along(row, tap / size, input.height) * input.width + along(column, tap % size, input.width);
                let weight = kernel[(channel * depth + inner) * size * size + tap];
                sum += f64::from(weight) * f64::from(input.plane(source, image)[pixel]);
            }
        }
        sum
    }

    #[test]
    fn convolutions_follow_the_definition() {
        let input = noise(5, 2, 7, 7);
        let cases = [
            Convolution::new(6, 3),
            Convolution::new(9, 1),
            Convolution::new(4, 3).stride(2),
            Convolution::depthwise(5, 5),
            Convolution::depthwise(5, 3).stride(2),
        ];
        for case in cases {
            let kernel = noise(case.outputs, 1, 1, case.fan_in(input.channels)).data;
            let output = convolve(&input, &case, &kernel);
            let cells = output.height * output.width;
            for (index, value) in output.data.iter().enumerate() {
                let (channel, position) = (index / output.positions(), index % output.positions());
                let place = [position / cells, position / output.width % output.height, position % output.width];
                let expected = slowly(&input, &case, &kernel, channel, place);
                assert!((f64::from(*value) - expected).abs() < 1e-4, "{case:?} at {index}: {value} for {expected}");
            }
        }
    }

    #[test]
    fn blocks_of_four_pixels_become_channels_column_by_column() {
        let input = Maps { channels: 1, images: 1, height: 2, width: 4, data: vec![0., 1., 2., 3., 4., 5., 6., 7.] };
        assert_eq!(space_to_depth(&input).data, [0., 2., 4., 6., 1., 3., 5., 7.]);
    }

    #[test]
    fn pooling_and_upsampling_keep_to_their_neighbourhood() {
        let input = Maps { channels: 1, images: 1, height: 2, width: 3, data: vec![5., 1., 0., 2., 3., 4.] };
        assert_eq!(max_pool(&input, 3).data, [5., 5., 4., 5., 5., 4.]);
        assert_eq!(max_pool(&input, 13).data, [5.; 6]);
        let doubled = upsample(&input);
        assert_eq!((doubled.height, doubled.width), (4, 6));
        assert_eq!(doubled.data[6..12], [5., 5., 1., 1., 0., 0.]);
    }
}
