//! The order in which nodes run: a linked list with numbers that tell which of two nodes comes first.
//!
//! Inserting and removing costs the same whatever the size of the graph; a full sort happens only when an edit broke
//! the order. This file knows nothing of values: edges come in as predecessor lists.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

const NONE: u32 = u32::MAX;
/// Distance between neighbours after numbering, so that 32 insertions fit at any place before numbering again.
const SPACING: u64 = 1 << 32;

#[derive(Debug, Clone, Copy)]
struct Link {
    label: u64,
    previous: u32,
    next: u32,
}

/// A total order of items that are small numbers.
#[derive(Debug, Clone)]
pub(super) struct Order {
    links: Vec<Link>,
    first: u32,
    last: u32,
    len: usize,
}

impl Order {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), first: NONE, last: NONE, len: 0 }
    }

    pub(super) fn from_sequence(items: impl IntoIterator<Item = u32>) -> Self {
        let mut order = Self::new();
        items.into_iter().for_each(|item| order.push_back(item));
        order
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let step = |item: u32| (item != NONE).then_some(item);
        std::iter::successors(step(self.first), move |&item| step(self.links[item as usize].next))
    }

    /// Whether `a` comes before `b`.
    pub(super) fn is_before(&self, a: u32, b: u32) -> bool {
        self.links[a as usize].label < self.links[b as usize].label
    }

    pub(super) fn push_back(&mut self, item: u32) {
        self.insert_between(item, self.last, NONE);
    }

    pub(super) fn insert_before(&mut self, item: u32, next: u32) {
        self.insert_between(item, self.links[next as usize].previous, next);
    }

    pub(super) fn remove(&mut self, item: u32) {
        let Link { previous, next, .. } = self.links[item as usize];
        self.connect(previous, next);
        self.len -= 1;
    }

    fn insert_between(&mut self, item: u32, previous: u32, next: u32) {
        if self.links.len() <= item as usize {
            self.links.resize(item as usize + 1, Link { label: 0, previous: NONE, next: NONE });
        }
        self.connect(previous, item);
        self.connect(item, next);
        self.len += 1;
        match self.label_between(previous, next) {
            Some(label) => self.links[item as usize].label = label,
            None => self.number(),
        }
    }

    fn label_between(&self, previous: u32, next: u32) -> Option<u64> {
        let low = if previous == NONE { 0 } else { self.links[previous as usize].label };
        let high = if next == NONE { low.checked_add(2 * SPACING)? } else { self.links[next as usize].label };
        let middle = low + (high - low) / 2;
        (middle > low).then_some(middle)
    }

    fn connect(&mut self, previous: u32, next: u32) {
        match previous {
            NONE => self.first = next,
            _ => self.links[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            _ => self.links[next as usize].previous = previous,
        }
    }

    fn number(&mut self) {
        let mut item = self.first;
        let mut label = 0;
        while item != NONE {
            label += SPACING;
            self.links[item as usize].label = label;
            item = self.links[item as usize].next;
        }
    }
}

/// Sorts `items` so that predecessors come first, changing as little as possible (Kahn's algorithm, the earliest item
/// that is ready goes next). Returns a cycle if there is one.
pub(crate) fn sort<'a, I>(items: &[u32], predecessors: impl Fn(u32) -> I + 'a) -> Result<Vec<u32>, Vec<u32>>
where
    I: Iterator<Item = u32>,
{
    let position: HashMap<u32, usize> = items.iter().enumerate().map(|(index, &item)| (item, index)).collect();
    let mut waiting = vec![0usize; items.len()];
    let mut followers = vec![Vec::new(); items.len()];
    for (index, &item) in items.iter().enumerate() {
        for before in predecessors(item).filter_map(|before| position.get(&before)) {
            waiting[index] += 1;
            followers[*before].push(index);
        }
    }
    let mut ready: BinaryHeap<_> = (0..items.len()).filter(|&index| waiting[index] == 0).map(Reverse).collect();
    let mut sorted = Vec::with_capacity(items.len());
    while let Some(Reverse(index)) = ready.pop() {
        sorted.push(items[index]);
        for &follower in &followers[index] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.push(Reverse(follower));
            }
        }
    }
    if sorted.len() == items.len() { Ok(sorted) } else { Err(find_cycle(items, &waiting, &position, predecessors)) }
}

/// Walks backwards through nodes that could not be sorted until one repeats.
fn find_cycle<I: Iterator<Item = u32>>(
    items: &[u32],
    waiting: &[usize],
    position: &HashMap<u32, usize>,
    predecessors: impl Fn(u32) -> I,
) -> Vec<u32> {
    let stuck = |item: &u32| position.get(item).is_some_and(|&index| waiting[index] > 0);
    let mut path: Vec<u32> = items.iter().copied().filter(stuck).take(1).collect();
    let mut seen_at: HashMap<u32, usize> = HashMap::new();
    while let Some(&item) = path.last() {
        if let Some(&start) = seen_at.get(&item) {
            let mut cycle = path[start..].to_vec();
            cycle.reverse();
            return cycle;
        }
        seen_at.insert(item, path.len() - 1);
        match predecessors(item).find(stuck) {
            Some(before) => path.push(before),
            None => return path,
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserts_anywhere_any_number_of_times() {
        let mut order = Order::from_sequence(0..3);
        for item in 3..300 {
            order.insert_before(item, 2);
        }
        order.remove(1);
        let items: Vec<u32> = order.iter().collect();
        assert_eq!(items.len(), order.len());
        assert_eq!((items[0], items[1], items[298]), (0, 3, 2));
        assert!(items.windows(2).all(|pair| order.is_before(pair[0], pair[1])));
    }

    #[test]
    fn sorting_is_stable_and_finds_cycles() {
        let edges = |item: u32| match item {
            0 => vec![3],
            2 => vec![0],
            _ => vec![],
        };
        assert_eq!(sort(&[0, 1, 2, 3], |item| edges(item).into_iter()), Ok(vec![1, 3, 0, 2]));
        let ring = |item: u32| vec![(item + 1) % 3].into_iter();
        assert_eq!(sort(&[0, 1, 2], ring).map_err(|cycle| cycle.len()), Err(4));
        assert_eq!(sort(&[7], |_| vec![7].into_iter()), Err(vec![7, 7]));
    }
}
