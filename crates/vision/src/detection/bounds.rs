//! An upright rectangle by its corners.

use crate::size::Size;

/// An upright rectangle, in pixels; the origin is the upper left corner of the image.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoundingBox {
    /// Its least x.
    pub left: f32,
    /// Its least y.
    pub top: f32,
    /// Its largest x.
    pub right: f32,
    /// Its largest y.
    pub bottom: f32,
}

impl BoundingBox {
    /// A box from its two corners.
    pub const fn corners(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        Self { left, top, right, bottom }
    }

    /// A box from its centre and its sides.
    pub fn centred(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self::corners(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
    }

    /// Distance from the left side to the right; negative where they are turned round.
    pub fn width(&self) -> f32 {
        self.right - self.left
    }

    /// Distance from the upper side to the lower; negative where they are turned round.
    pub fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// Square pixels inside; 0 where sides are turned round.
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Whether all four sides are numbers.
    pub fn is_finite(&self) -> bool {
        // A sum of finite numbers of opposite sign cannot hide one that is not finite.
        (self.left * 0.0 + self.top * 0.0 + self.right * 0.0 + self.bottom * 0.0) == 0.0
    }

    /// Whether nothing is inside: a side is turned round, or both lie on each other.
    pub fn is_empty(&self) -> bool {
        self.right <= self.left || self.bottom <= self.top
    }

    /// The part inside an image of that size; empty where there is none.
    pub fn clipped(&self, size: Size) -> Self {
        let (width, height) = (size.width as f32, size.height as f32);
        Self {
            left: self.left.clamp(0.0, width),
            top: self.top.clamp(0.0, height),
            right: self.right.clamp(0.0, width),
            bottom: self.bottom.clamp(0.0, height),
        }
    }

    /// Shared area over joint area, from 0 to 1; 0 where neither has one.
    pub fn intersection_over_union(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let shared = width.max(0.0) * height.max(0.0);
        let joint = self.area() + other.area() - shared;
        if joint > 0.0 { shared / joint } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_a_share_of_the_union() {
        let a = BoundingBox::corners(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.intersection_over_union(&a), 1.0);
        assert_eq!(a.intersection_over_union(&BoundingBox::corners(5.0, 0.0, 15.0, 10.0)), 50.0 / 150.0);
        assert_eq!(a.intersection_over_union(&BoundingBox::corners(10.0, 0.0, 20.0, 10.0)), 0.0);
        let point = BoundingBox::default();
        assert_eq!(point.intersection_over_union(&point), 0.0);
    }

    #[test]
    fn only_numbers_are_finite() {
        assert!(BoundingBox::corners(-1e30, 0.0, 1e30, 3.0).is_finite());
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!BoundingBox::corners(0.0, 0.0, wrong, 1.0).is_finite());
            assert!(!BoundingBox::corners(wrong, 0.0, -wrong, 1.0).is_finite());
        }
    }

    #[test]
    fn clipping_keeps_what_is_inside() {
        let size = Size { width: 20, height: 10 };
        let clipped = BoundingBox::corners(-5.0, 2.0, 25.0, 30.0).clipped(size);
        assert_eq!(clipped, BoundingBox::corners(0.0, 2.0, 20.0, 10.0));
        assert!(BoundingBox::corners(21.0, 2.0, 25.0, 5.0).clipped(size).is_empty());
    }
}
