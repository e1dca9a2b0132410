//! Which segments stay in memory. Pure: sizes and places in, places out.
//!
//! Stages run in a circle, so it is known which loaded segment is needed last: the one that lies farthest ahead. Giving that up
//! is the best choice there is (L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
//! Systems Journal 5, 1966).

/// Turns from `now` until `stage` runs, of `stages` in a circle.
fn turns(now: usize, stage: usize, stages: usize) -> usize {
    (stage + stages - now) % stages
}

/// The loaded segments to give up, those needed last first, so that all that stay and `wanted` take at most `room` bytes.
/// Nothing where that cannot be: the segment that runs now stays, and so does `wanted` where it is loaded already.
///
/// `loaded` has the bytes of each segment that is in memory.
pub(crate) fn evictions(loaded: &[Option<u64>], now: usize, wanted: (usize, u64), room: u64) -> Option<Vec<usize>> {
    let (stage, bytes) = wanted;
    let other = |&place: &usize| place != stage && loaded[place].is_some();
    let held: u64 = (0..loaded.len()).filter(other).filter_map(|place| loaded[place]).sum();
    let mut needed = held.saturating_add(bytes);
    let mut candidates: Vec<usize> = (0..loaded.len()).filter(other).filter(|&place| place != now).collect();
    candidates.sort_by_key(|&place| turns(now, place, loaded.len()));
    let mut evicted = Vec::new();
    while needed > room {
        let place = candidates.pop()?;
        needed -= loaded[place].unwrap_or(0);
        evicted.push(place);
    }
    Some(evicted)
}

/// As [`evictions`], for a segment that is loaded ahead of its turn: nothing that is needed sooner is given up for it.
pub(crate) fn evictions_ahead(
    loaded: &[Option<u64>],
    now: usize,
    wanted: (usize, u64),
    room: u64,
) -> Option<Vec<usize>> {
    let later = |place: &usize| turns(now, *place, loaded.len()) > turns(now, wanted.0, loaded.len());
    evictions(loaded, now, wanted, room).filter(|evicted| evicted.iter().all(later))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_needed_last_goes_first() {
        let loaded = [Some(10), Some(10), Some(10), None];
        assert_eq!(evictions(&loaded, 2, (3, 10), 40), Some(vec![]));
        assert_eq!(evictions(&loaded, 2, (3, 10), 30), Some(vec![1]));
        assert_eq!(evictions(&loaded, 2, (3, 10), 20), Some(vec![1, 0]));
        assert_eq!(evictions(&loaded, 2, (3, 10), 19), None);
    }

    #[test]
    fn nothing_needed_sooner_goes_for_what_is_loaded_ahead() {
        let loaded = [Some(10), Some(10), None];
        assert_eq!(evictions_ahead(&loaded, 0, (2, 10), 20), None);
        assert_eq!(evictions_ahead(&loaded, 1, (2, 10), 20), Some(vec![0]));
    }

    proptest! {
        #[test]
        fn what_stays_fits_and_only_as_much_as_needed_goes(
            loaded in prop::collection::vec(prop::option::of(1..100u64), 1..8),
            now in 0..8usize, stage in 0..8usize, bytes in 1..100u64, room in 0..400u64,
        ) {
            let (now, stage) = (now % loaded.len(), stage % loaded.len());
            let held = |gone: &[usize]| (0..loaded.len()).filter(|it| *it != stage && !gone.contains(it)).filter_map(|it| loaded[it]).sum::<u64>() + bytes;
            match evictions(&loaded, now, (stage, bytes), room) {
                Some(gone) => {
                    prop_assert!(held(&gone) <= room);
                    prop_assert!(!gone.contains(&now) && !gone.contains(&stage));
                    if let Some((_, kept)) = gone.split_last() {
                        prop_assert!(held(kept) > room);
                    }
                }
                None => {
                    let all: Vec<usize> = (0..loaded.len()).filter(|it| *it != now && *it != stage).collect();
                    prop_assert!(held(&all) > room);
                }
            }
        }

        /// Running round and round, no other choice loads fewer bytes than this one where all segments have one size.
        #[test]
        fn a_circle_is_run_with_as_few_loads_as_can_be(stages in 2..7usize, fit in 1..7usize) {
            let fit = fit.min(stages);
            let mut loaded = vec![None; stages];
            let mut loads = 0;
            let rounds = 20;
            for turn in 0..rounds * stages {
                let now = turn % stages;
                if loaded[now].is_none() {
                    for gone in evictions(&loaded, now, (now, 1), fit as u64).unwrap() {
                        loaded[gone] = None;
                    }
                    loaded[now] = Some(1);
                    loads += 1;
                }
            }
            // Of every stages - 1 turns, fit - 1 find their segment there.
            let turns = rounds * stages;
            let least = turns - (turns * (fit - 1)).div_ceil((stages - 1).max(1));
            prop_assert!(loads <= least + stages, "{loads} {least}");
            prop_assert!(fit < stages || loads == stages);
        }
    }
}
