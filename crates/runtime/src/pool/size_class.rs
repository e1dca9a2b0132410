//! Sizes that buffers of a pool have, so that one that comes back fits the next.

/// Smallest size; also a multiple of every alignment that devices ask for up to it.
const SMALLEST: u64 = 512;
/// Classes between a power of two and the next, so that at most a quarter of a buffer is unused.
const STEPS: u64 = 4;

/// The size of the buffer that serves `bytes` bytes: the next of four sizes per power of two, at least 512. Sizes past
/// 2^63 stay as they are.
#[must_use]
pub fn size_class(bytes: u64) -> u64 {
    if bytes <= SMALLEST {
        return SMALLEST;
    }
    let below = 1 << (63 - (bytes - 1).leading_zeros());
    bytes.checked_next_multiple_of((below / STEPS).max(SMALLEST / STEPS)).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_are_four_sizes_per_doubling() {
        let sizes: Vec<u64> =
            (1..=4096).map(size_class).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        assert_eq!(sizes, [512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096]);
    }

    proptest! {
        #[test]
        fn a_size_serves_what_it_is_for_and_wastes_at_most_a_quarter(bytes in 513u64..1 << 62) {
            let size = size_class(bytes);
            prop_assert!(size >= bytes);
            prop_assert!(size - bytes <= bytes / 4, "{bytes} gives {size}");
            prop_assert_eq!(size_class(size), size);
            prop_assert_eq!(size % 128, 0);
        }
    }
}
