//! Between Rust slices and TensorRT's fixed array of dimensions.

use trtx_sys::Dims64;

/// Most dimensions a TensorRT tensor can have.
pub(crate) const MOST_DIMENSIONS: usize = 8;

/// The dimensions as TensorRT takes them; `None` when there are too many.
pub(crate) fn to_raw(dimensions: &[i64]) -> Option<Dims64> {
    let mut raw = Dims64 { nbDims: i32::try_from(dimensions.len()).ok()?, d: [0; MOST_DIMENSIONS] };
    raw.d.get_mut(..dimensions.len())?.copy_from_slice(dimensions);
    Some(raw)
}

/// The dimensions that TensorRT gave; `None` when it gave an invalid set, its sign for "no answer".
pub(crate) fn from_raw(raw: &Dims64) -> Option<Vec<i64>> {
    let count = usize::try_from(raw.nbDims).ok()?;
    raw.d.get(..count).map(<[i64]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_survive_the_way_there_and_back() {
        for dimensions in [vec![], vec![-1, 3], vec![1; MOST_DIMENSIONS]] {
            let raw = to_raw(&dimensions).expect("not too many");
            assert_eq!(from_raw(&raw), Some(dimensions));
        }
        assert!(to_raw(&[1; MOST_DIMENSIONS + 1]).is_none());
    }

    #[test]
    fn an_invalid_answer_is_told_from_a_scalar() {
        let invalid = Dims64 { nbDims: -1, d: [0; MOST_DIMENSIONS] };
        assert_eq!(from_raw(&invalid), None);
        let absurd = Dims64 { nbDims: 9, d: [0; MOST_DIMENSIONS] };
        assert_eq!(from_raw(&absurd), None);
    }
}
