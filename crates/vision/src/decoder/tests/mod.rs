//! Every decoder against a slow reading of the same numbers, and against tensors made by hand.

mod by_hand;
mod choosing;
mod references;

use super::*;

/// A box as it is compared: class, score, sides.
type Found = (u32, f64, [f64; 4]);

/// Numbers that look random and are the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f32 {
        (low + (high - low) * self.next()) as f32
    }

    fn vec(&mut self, length: usize, low: f64, high: f64) -> Vec<f32> {
        (0..length).map(|_| self.between(low, high)).collect()
    }
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

/// What `decoder` finds in one image, ordered by class, score and place.
fn found(decoder: &Decoder, outputs: &[Values<'_>], batch: usize, image: usize, least: f32) -> Vec<Found> {
    let mut candidates = Candidates::new(least);
    decoder.decode(outputs, batch, image, &mut candidates).unwrap();
    let sides = |bounds: &BoundingBox| [bounds.left, bounds.top, bounds.right, bounds.bottom].map(f64::from);
    let all = candidates.bounds.iter().zip(&candidates.scores).zip(&candidates.classes);
    sorted(all.map(|((bounds, &score), &class)| (class, f64::from(score), sides(bounds))).collect())
}

fn sorted(mut boxes: Vec<Found>) -> Vec<Found> {
    boxes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2[0].total_cmp(&b.2[0])));
    boxes
}

/// That both found the same boxes: scores within 1e-5, sides within a thousandth of a pixel or of their size.
fn assert_same(fast: &[Found], slow: &[Found]) {
    assert_eq!(fast.len(), slow.len(), "number of boxes");
    assert!(!slow.is_empty(), "nothing was compared");
    for (fast, slow) in fast.iter().zip(slow) {
        assert_eq!(fast.0, slow.0, "{fast:?} for {slow:?}");
        assert!((fast.1 - slow.1).abs() < 1e-5, "{fast:?} for {slow:?}");
        for (fast_side, slow_side) in fast.2.iter().zip(&slow.2) {
            assert!((fast_side - slow_side).abs() < 1e-3 * slow_side.abs().max(1.0), "{fast:?} for {slow:?}");
        }
    }
}
