//! How far a candidate output is from its reference: signal-to-quantization-noise ratio, cosine similarity, largest error.
//!
//! Pure arithmetic over slices; accumulates in double precision so that outputs of several samples can be added up without holding them.

use serde::{Deserialize, Serialize};

/// Error of one output, summed over every element and every sample that was added.
#[derive(Clone, Debug, Default)]
pub struct ErrorSums {
    signal: f64,
    candidate: f64,
    noise: f64,
    product: f64,
    max_abs: f64,
    max_reference: f64,
    elements: u64,
    mismatched_non_finite: u64,
}

/// Accuracy of one output tensor of a rewritten model against the FP32 model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputAccuracy {
    /// Name of the model output.
    pub output: String,
    /// `10 log10(sum reference^2 / sum (candidate - reference)^2)` in decibel; `None` where both agree exactly.
    pub sqnr_db: Option<f64>,
    /// Decibel of error against signal, channel by channel and averaged: `int8::Loss` says how; `None` where both agree exactly or nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_db: Option<f64>,
    /// Cosine of the angle between both outputs taken as vectors; 1 where both are zero.
    pub cosine: f64,
    /// Largest `|candidate - reference|`.
    pub max_abs: f64,
    /// Largest `|reference|`, to read `max_abs` against.
    pub reference_max_abs: f64,
    /// Elements where one side is NaN or infinite and the other is not the same.
    pub non_finite: u64,
}

impl ErrorSums {
    /// Adds the elements of one sample. Both slices must have one length; the shorter one ends the comparison otherwise.
    pub fn add(&mut self, reference: &[f32], candidate: &[f32]) {
        for (&r, &c) in reference.iter().zip(candidate) {
            self.elements += 1;
            if !r.is_finite() || !c.is_finite() {
                let same = r == c || (r.is_nan() && c.is_nan());
                self.mismatched_non_finite += u64::from(!same);
                continue;
            }
            let (r, c) = (f64::from(r), f64::from(c));
            let error = c - r;
            self.signal += r * r;
            self.candidate += c * c;
            self.noise += error * error;
            self.product += r * c;
            self.max_abs = self.max_abs.max(error.abs());
            self.max_reference = self.max_reference.max(r.abs());
        }
    }

    /// Number of elements compared so far.
    pub fn elements(&self) -> u64 {
        self.elements
    }

    /// The figures for everything added so far.
    pub fn finish(&self, output: &str) -> OutputAccuracy {
        OutputAccuracy {
            output: output.to_owned(),
            sqnr_db: self.sqnr_db(),
            channel_db: None,
            cosine: self.cosine(),
            max_abs: self.max_abs,
            reference_max_abs: self.max_reference,
            non_finite: self.mismatched_non_finite,
        }
    }

    fn sqnr_db(&self) -> Option<f64> {
        if self.noise == 0.0 {
            return None;
        }
        // A reference of zeros against a candidate that is not zero has no signal at all: the smallest finite figure, not -inf, which JSON cannot hold.
        Some((10.0 * (self.signal / self.noise).log10()).max(-999.0))
    }

    fn cosine(&self) -> f64 {
        if self.signal == 0.0 && self.candidate == 0.0 {
            return 1.0;
        }
        let norm = (self.signal * self.candidate).sqrt();
        if norm == 0.0 { 0.0 } else { (self.product / norm).clamp(-1.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_outputs_have_no_noise() {
        let mut sums = ErrorSums::default();
        sums.add(&[1.0, -2.0], &[1.0, -2.0]);
        let accuracy = sums.finish("y");
        assert_eq!((accuracy.sqnr_db, accuracy.max_abs, accuracy.non_finite), (None, 0.0, 0));
        assert!((accuracy.cosine - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_tenth_of_error_is_twenty_decibel() {
        let mut sums = ErrorSums::default();
        sums.add(&[10.0, 0.0], &[11.0, 0.0]);
        let accuracy = sums.finish("y");
        assert!((accuracy.sqnr_db.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(accuracy.max_abs, 1.0);
    }

    #[test]
    fn samples_add_up() {
        let (mut one, mut two) = (ErrorSums::default(), ErrorSums::default());
        one.add(&[1.0, 2.0, 3.0, 4.0], &[1.1, 2.0, 2.9, 4.0]);
        two.add(&[1.0, 2.0], &[1.1, 2.0]);
        two.add(&[3.0, 4.0], &[2.9, 4.0]);
        assert_eq!(one.finish("y"), two.finish("y"));
    }

    #[test]
    fn infinities_count_unless_equal() {
        let mut sums = ErrorSums::default();
        sums.add(&[f32::INFINITY, 1.0, f32::NAN, 2.0], &[f32::INFINITY, f32::NAN, f32::NAN, f32::INFINITY]);
        assert_eq!(sums.finish("y").non_finite, 2);
        assert_eq!(sums.elements(), 4);
    }

    #[test]
    fn zero_reference_is_finite() {
        let mut sums = ErrorSums::default();
        sums.add(&[0.0], &[1.0]);
        let accuracy = sums.finish("y");
        assert_eq!((accuracy.sqnr_db, accuracy.cosine), (Some(-999.0), 0.0));
    }
}
