//! How little memory the values of a run need, and where to put each of them.
//!
//! Pure functions over lifetimes: nothing is allocated and no device is asked.

/// Something that occupies memory from one step to another, both included.
pub trait Occupancy {
    /// Size.
    fn bytes(&self) -> u64;
    /// First step.
    fn first(&self) -> u32;
    /// Last step, not before the first.
    fn last(&self) -> u32;
}

/// `(bytes, first, last)`.
impl Occupancy for (u64, u32, u32) {
    fn bytes(&self) -> u64 {
        self.0
    }

    fn first(&self) -> u32 {
        self.1
    }

    fn last(&self) -> u32 {
        self.2
    }
}

/// The step that needs most memory. No placement can do with less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bound {
    /// Bytes live at that step.
    pub bytes: u64,
    /// The step; the first one if several need as much.
    pub step: u32,
    /// Positions in the given list of what is live then.
    pub live: Vec<usize>,
}

/// Places for all values in one block of memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Offset of each value, in the order of the given list.
    pub offsets: Vec<u64>,
    /// Size of the block.
    pub total_bytes: u64,
}

/// The most bytes that are live at one step.
pub fn lower_bound<T: Occupancy>(values: &[T]) -> Bound {
    let mut events: Vec<(u64, bool, u64)> = Vec::with_capacity(2 * values.len());
    for value in values.iter().filter(|value| value.last() >= value.first()) {
        events.push((u64::from(value.first()), true, value.bytes()));
        events.push((u64::from(value.last()) + 1, false, value.bytes()));
    }
    events.sort_unstable();
    let (mut live, mut bound) = (0u64, Bound::default());
    for (step, begins, bytes) in events {
        match begins {
            true => live = live.saturating_add(bytes),
            false => live = live.saturating_sub(bytes),
        }
        if live > bound.bytes {
            (bound.bytes, bound.step) = (live, step as u32);
        }
    }
    let is_live = |value: &T| (value.first()..=value.last()).contains(&bound.step);
    bound.live = (0..values.len()).filter(|&index| is_live(&values[index])).collect();
    bound
}

/// Bytes live at each of the first `steps` steps. What lasts longer counts up to there.
pub fn live_bytes<T: Occupancy>(values: &[T], steps: u32) -> Vec<u64> {
    let mut begins = vec![0u64; steps as usize + 1];
    let mut ends = begins.clone();
    for value in values.iter().filter(|value| value.first() < steps && value.last() >= value.first()) {
        let (first, after) = (value.first() as usize, value.last().min(steps - 1) as usize + 1);
        begins[first] = begins[first].saturating_add(value.bytes());
        ends[after] = ends[after].saturating_add(value.bytes());
    }
    let mut live = 0u64;
    let at = |(begins, ends): (u64, u64)| {
        live = live.saturating_sub(ends).saturating_add(begins);
        live
    };
    begins.into_iter().zip(ends).take(steps as usize).map(at).collect()
}

/// Packs values so that two share bytes only if they are never live together.
///
/// Largest first, each into the smallest gap that holds it, else behind everything it meets. Offsets are multiples of
/// `alignment` (0 counts as 1).
pub fn plan<T: Occupancy>(values: &[T], alignment: u64) -> Plan {
    let mut by_size: Vec<usize> = (0..values.len()).collect();
    by_size.sort_by_key(|&index| (std::cmp::Reverse(values[index].bytes()), values[index].first()));
    let mut plan = Plan { offsets: vec![0; values.len()], total_bytes: 0 };
    let mut placed: Vec<usize> = Vec::with_capacity(values.len());
    for index in by_size.into_iter().filter(|&index| values[index].bytes() > 0) {
        let neighbours = placed.iter().filter(|&&other| live_together(&values[index], &values[other]));
        let taken =
            neighbours.map(|&other| (plan.offsets[other], plan.offsets[other].saturating_add(values[other].bytes())));
        let offset = best_gap(taken, values[index].bytes(), alignment.max(1));
        plan.offsets[index] = offset;
        plan.total_bytes = plan.total_bytes.max(offset.saturating_add(values[index].bytes()));
        let position = placed.partition_point(|&other| plan.offsets[other] <= offset);
        placed.insert(position, index);
    }
    plan
}

fn live_together<T: Occupancy>(a: &T, b: &T) -> bool {
    a.first() <= b.last() && b.first() <= a.last()
}

/// Offset of the smallest gap of at least `bytes` between the taken ranges, which come in order of their begin.
fn best_gap(taken: impl Iterator<Item = (u64, u64)>, bytes: u64, alignment: u64) -> u64 {
    let mut best: Option<(u64, u64)> = None;
    let mut free_from = 0u64;
    for (begin, end) in taken {
        let start = align(free_from, alignment);
        if start.saturating_add(bytes) <= begin {
            let gap = begin - start;
            if best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, start));
            }
        }
        free_from = free_from.max(end);
    }
    best.map_or_else(|| align(free_from, alignment), |(_, start)| start)
}

fn align(offset: u64, alignment: u64) -> u64 {
    offset.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_needs_two_neighbours_at_a_time() {
        let chain = [(100, 0, 1), (50, 1, 2), (100, 2, 3), (10, 3, 3)];
        let bound = lower_bound(&chain);
        assert_eq!((bound.bytes, bound.step, bound.live), (150, 1, vec![0, 1]));
        assert_eq!(plan(&chain, 1).total_bytes, 150);
    }

    #[test]
    fn offsets_are_aligned() {
        let values = [(5, 0, 9), (3, 0, 9), (1, 0, 9)];
        let plan = plan(&values, 256);
        assert!(plan.offsets.iter().all(|offset| offset % 256 == 0));
        assert_eq!(plan.total_bytes, 513);
    }

    #[test]
    fn nothing_needs_nothing() {
        assert_eq!(lower_bound::<(u64, u32, u32)>(&[]), Bound::default());
        assert_eq!(plan::<(u64, u32, u32)>(&[], 0), Plan::default());
        assert_eq!(plan(&[(0, 3, 4)], 0).total_bytes, 0);
    }

    #[test]
    fn the_smallest_sufficient_gap_is_taken() {
        let gap = best_gap([(10, 20), (24, 30), (36, 40)].into_iter(), 4, 1);
        assert_eq!(gap, 20);
        assert_eq!(best_gap([(10, 20), (24, 30)].into_iter(), 11, 1), 30);
    }
}
