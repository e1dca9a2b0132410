//! Seeded noise and the weights it becomes.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, 2014), written out here because the generators of general crates may change between versions and
//! a seed must mean the same file for ever. Only integer arithmetic and correctly rounded operations are used.

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    state: u64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Noise {
    /// The stream number `stream` of `seed`. Streams do not depend on each other, so tensors can be drawn in any order.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self { state: seed };
        let state = mixed.bits() ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Self { state }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even over `low..high`.
    pub(crate) fn uniform(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 / (1 << 24) as f32;
        low + (high - low) * unit
    }

    /// Bell-shaped with mean 0 and variance 1: the sum of four even 16-bit numbers. Tails end at 3.46.
    pub(crate) fn bell(&mut self) -> f32 {
        const CENTRE: i32 = 2 * 0xffff;
        // Variance of the sum: 4 * (65536^2 - 1) / 12.
        const SCALE: f32 = 2.642_931_4e-5;
        let bits = self.bits();
        let lane = |index: u32| (bits >> (16 * index)) as u16 as i32;
        (lane(0) + lane(1) + lane(2) + lane(3) - CENTRE) as f32 * SCALE
    }
}

/// Kernel and bias of one convolution.
#[derive(Debug)]
pub(crate) struct Weights {
    /// Output channel, input channel, row, column.
    pub(crate) kernel: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        let mut noise = Noise { state: 1_234_567 };
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| noise.bits()), expected);
    }

    #[test]
    fn bells_have_mean_zero_and_variance_one() {
        let mut noise = Noise::new(7, 0);
        let drawn: Vec<f64> = (0..100_000).map(|_| f64::from(noise.bell())).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }

    #[test]
    fn streams_and_seeds_differ() {
        let first = |seed, stream| Noise::new(seed, stream).bits();
        assert_ne!(first(0, 0), first(0, 1));
        assert_ne!(first(0, 0), first(1, 0));
        assert_ne!(first(0, 1), first(1, 0));
    }
}
