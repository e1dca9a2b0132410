//! The two activations of the networks, with arithmetic that gives the same bits on every machine.
//!
//! The platform's `exp` may differ in the last bit between C libraries, and settled weights would differ with it; only basic IEEE operations are used
//! here, which Rust never fuses or reorders.

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    /// `x * sigmoid(x)`; ONNX of the chosen opset has no operator for it, so it becomes a Sigmoid and a Mul.
    Silu,
}

impl Activation {
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Self::Silu => values.iter_mut().for_each(|value| *value *= sigmoid(*value)),
        }
    }
}

/// Logistic function.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// `exp(x)` within 3e-7 relative, for x clamped to [-80, 80]: power of two times a degree-6 Taylor polynomial on half a binade.
fn exponential(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-80.0, 80.0);
    let scaled = x * std::f32::consts::LOG2_E;
    let exponent = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32;
    let power = exponent as f32;
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let tail = 1.0 / 24.0 + rest * (1.0 / 120.0 + rest * (1.0 / 720.0));
    let polynomial = 1.0 + rest * (1.0 + rest * (0.5 + rest * (1.0 / 6.0 + rest * tail)));
    f32::from_bits(((exponent + 127) as u32) << 23) * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_close_to_the_platform_one() {
        for step in -8000..=8000 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exponential(x)) - expected).abs() / expected;
            assert!(relative < 3e-7, "exp({x}) is off by {relative}");
        }
    }

    #[test]
    fn activations_keep_their_limits() {
        let mut values = [-100.0, -1.0, 0.0, 2.0, 100.0];
        Activation::Silu.apply(&mut values);
        assert!(values[0].abs() < 1e-30 && values[2] == 0.0 && values[4] == 100.0);
        assert!((values[1] + 0.268_941_43).abs() < 1e-6);
        let mut values = [-1.0, 3.0];
        Activation::Relu.apply(&mut values);
        assert_eq!(values, [0.0, 3.0]);
    }
}
