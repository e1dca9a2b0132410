//! Optimisation profiles: the shapes an engine must serve and those it is tuned for.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::rc::Rc;

use trtx_sys::nvinfer1::{IOptimizationProfile, OptProfileSelector};

use crate::builder::BuilderHandle;
use crate::dimensions::{MOST_DIMENSIONS, to_raw};
use crate::shim::c_string;
use crate::{Error, ProfileFault, Result};

/// Smallest, tuned-for and largest shape of one input, in elements per dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeRange {
    /// Smallest shape.
    pub minimum: Vec<i64>,
    /// Shape to tune for.
    pub optimum: Vec<i64>,
    /// Largest shape.
    pub maximum: Vec<i64>,
}

impl ShapeRange {
    /// Checks that the three agree with each other.
    fn check(&self) -> std::result::Result<(), ProfileFault> {
        let expected = self.minimum.len();
        for other in [&self.optimum, &self.maximum] {
            if other.len() != expected {
                return Err(ProfileFault::Rank { expected, found: other.len() });
            }
        }
        let axes = self.minimum.iter().zip(&self.optimum).zip(&self.maximum);
        for (axis, ((&minimum, &optimum), &maximum)) in axes.enumerate() {
            if !(0 <= minimum && minimum <= optimum && optimum <= maximum) {
                return Err(ProfileFault::Order { axis, minimum, optimum, maximum });
            }
        }
        Ok(())
    }

    fn selected(&self) -> [(OptProfileSelector, &[i64]); 3] {
        [
            (OptProfileSelector::kMIN, &self.minimum),
            (OptProfileSelector::kOPT, &self.optimum),
            (OptProfileSelector::kMAX, &self.maximum),
        ]
    }
}

/// Shapes that an engine is built for; made by [`crate::Builder::profile`].
pub struct OptimizationProfile {
    raw: NonNull<IOptimizationProfile>,
    shapes: BTreeMap<String, ShapeRange>,
    /// Owns `raw`: TensorRT frees profiles with their builder.
    builder: Rc<BuilderHandle>,
}

impl OptimizationProfile {
    pub(crate) fn new(builder: &Rc<BuilderHandle>) -> Result<Self> {
        let raw = builder.with(|it| it.createOptimizationProfile());
        let raw = NonNull::new(raw).ok_or_else(|| builder.not_created("a profile"))?;
        Ok(Self { raw, shapes: BTreeMap::new(), builder: Rc::clone(builder) })
    }

    /// Gives an input's smallest, tuned-for and largest shape. Whether the network has such an
    /// input is checked by the build.
    ///
    /// # Errors
    /// [`Error::Profile`] when the shapes differ in rank, are out of order, negative, or refused.
    pub fn set_shape(&mut self, input: &str, minimum: &[i64], optimum: &[i64], maximum: &[i64]) -> Result<()> {
        let range = ShapeRange { minimum: minimum.to_vec(), optimum: optimum.to_vec(), maximum: maximum.to_vec() };
        let fault = |fault| Error::Profile { input: input.to_owned(), fault };
        range.check().map_err(fault)?;
        let name = c_string(input)?;
        for (selector, shape) in range.selected() {
            let dimensions = to_raw(shape)
                .ok_or_else(|| fault(ProfileFault::TooManyDimensions { found: shape.len(), most: MOST_DIMENSIONS }))?;
            // SAFETY: the builder handle keeps the profile alive and no other reference to it
            // exists; TensorRT copies the name.
            let taken = unsafe {
                std::pin::Pin::new_unchecked(self.raw.as_mut()).setDimensions(name.as_ptr(), selector, &dimensions)
            };
            if !taken {
                return Err(fault(ProfileFault::Refused));
            }
        }
        self.shapes.insert(input.to_owned(), range);
        Ok(())
    }

    /// Gives the smallest, tuned-for and largest values of an input that is itself a shape.
    ///
    /// # Errors
    /// As for [`Self::set_shape`].
    pub fn set_values(&mut self, input: &str, minimum: &[i64], optimum: &[i64], maximum: &[i64]) -> Result<()> {
        let range = ShapeRange { minimum: minimum.to_vec(), optimum: optimum.to_vec(), maximum: maximum.to_vec() };
        let fault = |fault| Error::Profile { input: input.to_owned(), fault };
        range.check().map_err(fault)?;
        let name = c_string(input)?;
        for (selector, values) in range.selected() {
            let count = i32::try_from(values.len())
                .map_err(|_| fault(ProfileFault::TooManyDimensions { found: values.len(), most: i32::MAX as usize }))?;
            // SAFETY: as in `set_shape`; TensorRT copies `count` values.
            let taken = unsafe {
                std::pin::Pin::new_unchecked(self.raw.as_mut()).setShapeValuesV2(
                    name.as_ptr(),
                    selector,
                    values.as_ptr(),
                    count,
                )
            };
            if !taken {
                return Err(fault(ProfileFault::Refused));
            }
        }
        Ok(())
    }

    /// The shapes given so far, by input.
    #[must_use]
    pub fn shapes(&self) -> &BTreeMap<String, ShapeRange> {
        &self.shapes
    }

    pub(crate) fn as_ptr(&self) -> *const IOptimizationProfile {
        self.raw.as_ptr()
    }

    pub(crate) fn builder(&self) -> &Rc<BuilderHandle> {
        &self.builder
    }
}

impl std::fmt::Debug for OptimizationProfile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("OptimizationProfile").field(&self.shapes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(minimum: &[i64], optimum: &[i64], maximum: &[i64]) -> Option<ProfileFault> {
        ShapeRange { minimum: minimum.to_vec(), optimum: optimum.to_vec(), maximum: maximum.to_vec() }.check().err()
    }

    #[test]
    fn shapes_must_agree_with_each_other() {
        assert_eq!(check(&[1, 3], &[2, 3], &[4, 3]), None);
        assert_eq!(check(&[], &[], &[]), None);
        assert_eq!(check(&[1], &[1, 2], &[1]), Some(ProfileFault::Rank { expected: 1, found: 2 }));
        for wrong in [[2, 1, 3], [1, 4, 3], [-1, 1, 1]] {
            let [minimum, optimum, maximum] = wrong;
            let expected = ProfileFault::Order { axis: 1, minimum, optimum, maximum };
            assert_eq!(check(&[1, minimum], &[1, optimum], &[1, maximum]), Some(expected));
        }
    }
}
