//! Checks profiles against a network before TensorRT is asked, to name input and dimension.
//!
//! Pure functions over descriptions. What passes here may still be refused by TensorRT.

use std::collections::BTreeMap;

use crate::{Error, ProfileFault, Result, ShapeRange, TensorInfo};

type Shapes = BTreeMap<String, ShapeRange>;

/// Checks that every profile names inputs of the network and covers those with open dimensions.
pub(crate) fn check_profiles(inputs: &[TensorInfo], profiles: &[Shapes]) -> Result<()> {
    let fault = |input: &str, fault| Error::Profile { input: input.to_owned(), fault };
    for profile in profiles {
        for (name, range) in profile {
            let Some(input) = inputs.iter().find(|input| input.name == *name) else {
                let inputs = inputs.iter().map(|input| input.name.clone()).collect();
                return Err(fault(name, ProfileFault::NoSuchInput { inputs }));
            };
            check_range(input, range).map_err(|it| fault(name, it))?;
        }
    }
    for input in inputs.iter().filter(|input| input.is_dynamic()) {
        if profiles.is_empty() {
            return Err(fault(&input.name, ProfileFault::NoProfile));
        }
        if let Some(profile) = profiles.iter().position(|it| !it.contains_key(&input.name)) {
            return Err(fault(&input.name, ProfileFault::MissingShape { profile }));
        }
    }
    Ok(())
}

/// Checks one input's shapes against the dimensions that the network fixes.
fn check_range(input: &TensorInfo, range: &ShapeRange) -> std::result::Result<(), ProfileFault> {
    let (expected, found) = (input.dimensions.len(), range.minimum.len());
    if expected != found {
        return Err(ProfileFault::Rank { expected, found });
    }
    for shape in [&range.minimum, &range.optimum, &range.maximum] {
        for (axis, (&expected, &found)) in input.dimensions.iter().zip(shape).enumerate() {
            if expected != -1 && expected != found {
                return Err(ProfileFault::FixedDimension { axis, expected, found });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataType;

    fn input(name: &str, dimensions: &[i64]) -> TensorInfo {
        TensorInfo {
            name: name.to_owned(),
            data_type: DataType::Float32,
            dimensions: dimensions.to_vec(),
            is_shape: false,
        }
    }

    fn profile(name: &str, shape: &[i64]) -> Shapes {
        let range = ShapeRange { minimum: shape.to_vec(), optimum: shape.to_vec(), maximum: shape.to_vec() };
        BTreeMap::from([(name.to_owned(), range)])
    }

    fn fault(inputs: &[TensorInfo], profiles: &[Shapes]) -> Option<ProfileFault> {
        match check_profiles(inputs, profiles) {
            Ok(()) => None,
            Err(Error::Profile { fault, .. }) => Some(fault),
            Err(other) => panic!("another error: {other}"),
        }
    }

    #[test]
    fn fitting_profiles_pass() {
        let inputs = [input("x", &[-1, 3]), input("fixed", &[2])];
        assert_eq!(fault(&inputs, &[profile("x", &[4, 3]), profile("x", &[8, 3])]), None);
        assert_eq!(fault(&inputs[1..], &[]), None);
    }

    #[test]
    fn each_misfit_is_named() {
        let inputs = [input("x", &[-1, 3])];
        assert_eq!(fault(&inputs, &[]), Some(ProfileFault::NoProfile));
        assert_eq!(
            fault(&inputs, &[profile("y", &[1, 3])]),
            Some(ProfileFault::NoSuchInput { inputs: vec!["x".to_owned()] })
        );
        assert_eq!(fault(&inputs, &[profile("x", &[1])]), Some(ProfileFault::Rank { expected: 2, found: 1 }));
        assert_eq!(
            fault(&inputs, &[profile("x", &[1, 4])]),
            Some(ProfileFault::FixedDimension { axis: 1, expected: 3, found: 4 })
        );
        assert_eq!(
            fault(&inputs, &[profile("x", &[1, 3]), Shapes::new()]),
            Some(ProfileFault::MissingShape { profile: 1 })
        );
    }
}
