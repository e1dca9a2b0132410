//! Least, largest and mean value of what came out.

use half::f16;
use serde::Serialize;
use trtforge_runtime::ElementType;

/// Over all finite values seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Statistics {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Values that are not a number or infinite.
    pub non_finite: u64,
    #[serde(skip)]
    sum: f64,
    #[serde(skip)]
    count: u64,
}

impl Statistics {
    /// Counts the values of a tensor.
    pub fn add(&mut self, element: ElementType, bytes: &[u8]) {
        let (twos, fours) = (bytes.as_chunks::<2>().0.iter(), bytes.as_chunks::<4>().0.iter());
        let eights = bytes.as_chunks::<8>().0.iter();
        match element {
            ElementType::Float32 => self.extend(fours.map(|four| f64::from(f32::from_ne_bytes(*four)))),
            ElementType::Float16 => self.extend(twos.map(|two| f16::from_ne_bytes(*two).to_f64())),
            ElementType::Int32 => self.extend(fours.map(|four| f64::from(i32::from_ne_bytes(*four)))),
            ElementType::Int64 => self.extend(eights.map(|eight| i64::from_ne_bytes(*eight) as f64)),
            ElementType::Int8 => self.extend(bytes.iter().map(|&byte| f64::from(byte as i8))),
            _ => self.extend(bytes.iter().map(|&byte| f64::from(byte))),
        }
    }

    fn extend(&mut self, values: impl Iterator<Item = f64>) {
        let (mut min, mut max) = (self.min.unwrap_or(f64::INFINITY), self.max.unwrap_or(f64::NEG_INFINITY));
        for value in values {
            if value.is_finite() {
                (min, max) = (min.min(value), max.max(value));
                self.sum += value;
                self.count += 1;
            } else {
                self.non_finite += 1;
            }
        }
        if self.count > 0 {
            (self.min, self.max, self.mean) = (Some(min), Some(max), Some(self.sum / self.count as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_numbers_are_counted_apart() {
        let mut statistics = Statistics::default();
        statistics.add(ElementType::Float32, &[f32::NAN, f32::INFINITY].map(f32::to_ne_bytes).concat());
        assert_eq!((statistics.mean, statistics.non_finite), (None, 2));
        statistics.add(ElementType::Float32, &[-1.0f32, 4.0].map(f32::to_ne_bytes).concat());
        statistics.add(ElementType::Float32, &3f32.to_ne_bytes());
        assert_eq!((statistics.min, statistics.max, statistics.mean), (Some(-1.0), Some(4.0), Some(2.0)));
    }
}
