//! Where to cut a run into segments so that it gets by with least memory: pure search over lifetimes.
//!
//! A segment is a range of steps that runs as an engine of its own. While it runs, memory holds its weights, its
//! activation block (what it makes and reads up itself, and scratch), and every boundary value that is live: what comes
//! in, what goes out, and what passes by for a later segment. The peak of a run is the largest sum over its segments.
//!
//! The search is exact. The memory of every segment is counted once, by growing it step by step from each possible start;
//! then dynamic programming over the last cut finds the smallest peak, and, among cuts of that peak, those that carry the
//! fewest bytes from segment to segment (as in the partition of a chain under a bottleneck: S. H. Bokhari, "Partitioning
//! problems in parallel, pipelined and distributed computing", IEEE Transactions on Computers 37, 1988).

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// A run as the search sees it: steps in order, weights that they read, values that live from step to step.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// What each step needs besides values.
    pub steps: Vec<Step>,
    /// Values.
    pub values: Vec<Span>,
    /// Steps after which a cut is allowed, ascending; the last step of all is none.
    pub cuts: Vec<u32>,
}

/// What one step needs besides values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Weights that it reads: bytes, and the last step before it that reads the same ones. A segment holds them once.
    pub weights: Vec<(u64, Option<u32>)>,
    /// Memory that is needed while it runs and that nothing else can use then.
    pub scratch_bytes: u64,
}

/// A value between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its size.
    pub bytes: u64,
    /// The step that makes it; of an input of the network the first that reads it.
    pub first: u32,
    /// The last step that reads it.
    pub last: u32,
    /// Whether it is an input or output of the network, which no activation block holds.
    pub is_external: bool,
    /// Where an activation block holds it: on its own from this step on, which may be before it is made, as the parts of a
    /// concatenation are written in place; or nowhere, as such a part.
    pub reserved_from: Option<u32>,
}

impl Span {
    /// A value with a place of its own from the step that makes it to the last one that reads it.
    #[must_use]
    pub fn new(bytes: u64, first: u32, last: u32) -> Self {
        Self { bytes, first, last, is_external: false, reserved_from: Some(first) }
    }
}

/// Memory while a segment runs, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMemory {
    /// Weights that its steps read.
    pub weights_bytes: u64,
    /// The most that its own values and scratch take at one step.
    pub activation_bytes: u64,
    /// Boundary values that are live while it runs.
    pub boundary_bytes: u64,
}

impl SegmentMemory {
    /// The sum.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.activation_bytes).saturating_add(self.boundary_bytes)
    }
}

/// A run cut into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segmentation {
    /// The steps of each segment, in order.
    pub segments: Vec<RangeInclusive<u32>>,
    /// The memory of each.
    pub memory: Vec<SegmentMemory>,
}

impl Segmentation {
    /// The most that any segment takes.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.memory.iter().map(SegmentMemory::total_bytes).max().unwrap_or(0)
    }
}

/// The memory of every segment between allowed cuts.
#[derive(Debug)]
pub struct Segments {
    /// Places between steps: place p is in front of step `starts[p]`.
    starts: Vec<u32>,
    /// Last step of all.
    end: u32,
    /// Memory from place to later place, row by row.
    memory: Vec<SegmentMemory>,
    /// Bytes that live across each place.
    crossing: Vec<u64>,
}

/// No more places than this are looked at; the memory of every pair is kept.
pub const MOST_CUTS: usize = 2047;

impl Segments {
    /// Counts the memory of all segments of `chain`. Time and memory grow with the square of the number of cuts, of which the
    /// [`MOST_CUTS`] that fewest bytes cross are looked at.
    #[must_use]
    pub fn new(chain: &Chain) -> Self {
        let end = (chain.steps.len() as u32).saturating_sub(1);
        let mut starts: Vec<u32> = chain.cuts.iter().map(|cut| cut + 1).filter(|start| *start <= end).collect();
        starts.sort_unstable();
        starts.dedup();
        narrowest(chain, &mut starts);
        starts.insert(0, 0);
        let crossing = starts.iter().map(|&start| crossing(chain, start)).collect();
        let mut segments =
            Self { memory: vec![SegmentMemory::default(); starts.len() * starts.len()], starts, end, crossing };
        if !chain.steps.is_empty() {
            let mut growth = Growth::new(chain);
            for place in 0..segments.starts.len() {
                segments.count_from(place, &mut growth);
            }
        }
        segments
    }

    /// The most segments that the run can be cut into.
    #[must_use]
    pub fn most(&self) -> usize {
        self.starts.len()
    }

    /// The cut into exactly `count` segments with the smallest peak; among those, one that carries fewest bytes across its
    /// cuts. Nothing if there are too few places, or `count` is 0.
    #[must_use]
    pub fn best(&self, count: usize) -> Option<Segmentation> {
        if count == 0 || count > self.most() {
            return None;
        }
        let peaks = self.table(count, |before: u64, bytes, _| Some(before.max(bytes)));
        let peak = peaks.at(count, self.most())?;
        let carried = self.table(count, |before: u64, bytes, crossing| (bytes <= peak).then_some(before + crossing));
        Some(self.segmentation(&carried.cuts(count, self.most())))
    }

    /// The run cut into the given segments; nothing where one does not begin and end at places that were looked at.
    #[must_use]
    pub fn at(&self, segments: &[RangeInclusive<u32>]) -> Option<Segmentation> {
        let place = |start: u32| self.starts.binary_search(&start).ok();
        let places = segments.iter().map(|steps| place(*steps.start())).collect::<Option<Vec<_>>>()?;
        let cut = self.segmentation(&places);
        (places.first() == Some(&0) && cut.segments == segments).then_some(cut)
    }

    /// The places next to the one in front of `start`, as the steps that they are in front of.
    #[must_use]
    pub fn beside(&self, start: u32) -> [Option<u32>; 2] {
        let before = self.starts.iter().rev().find(|&&place| place < start && place > 0);
        [before.copied(), self.starts.iter().find(|&&place| place > start).copied()]
    }

    fn bytes(&self, from: usize, to: usize) -> u64 {
        self.memory[from * self.starts.len() + to - 1].total_bytes()
    }

    /// Fills `cost[k][p]`: the least cost of the first p places in k segments, where `join` adds a segment to what is before it.
    fn table(&self, count: usize, join: impl Fn(u64, u64, u64) -> Option<u64>) -> Table {
        let places = self.most();
        let mut table = Table::new(count, places);
        for segments in 1..=count {
            for to in segments..=places {
                for from in segments - 1..to {
                    let Some(before) = table.at(segments - 1, from) else { continue };
                    if let Some(cost) = join(before, self.bytes(from, to), self.crossing[from]) {
                        table.offer(segments, to, cost, from);
                    }
                }
            }
        }
        table
    }

    fn segmentation(&self, places: &[usize]) -> Segmentation {
        let ends = places.iter().skip(1).copied().chain([self.most()]);
        let pairs: Vec<(usize, usize)> = places.iter().copied().zip(ends).collect();
        let last = |to: usize| self.starts.get(to).map_or(self.end, |start| start - 1);
        Segmentation {
            segments: pairs.iter().map(|&(from, to)| self.starts[from]..=last(to)).collect(),
            memory: pairs.iter().map(|&(from, to)| self.memory[from * self.starts.len() + to - 1]).collect(),
        }
    }

    fn count_from(&mut self, place: usize, growth: &mut Growth<'_>) {
        let count = self.starts.len();
        let mut step = self.starts[place];
        growth.start(step);
        for next in place + 1..=count {
            let last = self.starts.get(next).map_or(self.end, |start| start - 1);
            while step <= last {
                growth.add(step);
                step += 1;
            }
            self.memory[place * count + next - 1] = growth.memory;
        }
    }
}

/// Least costs by number of segments and place, and the last cut that each came from.
struct Table {
    places: usize,
    best: Vec<Option<(u64, usize)>>,
}

impl Table {
    fn new(count: usize, places: usize) -> Self {
        let mut table = Self { places, best: vec![None; (count + 1) * (places + 1)] };
        table.best[0] = Some((0, 0));
        table
    }

    fn at(&self, segments: usize, place: usize) -> Option<u64> {
        self.best[segments * (self.places + 1) + place].map(|(cost, _)| cost)
    }

    fn offer(&mut self, segments: usize, place: usize, cost: u64, from: usize) {
        let best = &mut self.best[segments * (self.places + 1) + place];
        if best.is_none_or(|(least, _)| cost < least) {
            *best = Some((cost, from));
        }
    }

    /// Where the segments of the best way begin.
    fn cuts(&self, count: usize, places: usize) -> Vec<usize> {
        let (mut cuts, mut place) = (vec![0; count], places);
        for segments in (1..=count).rev() {
            let from = self.best[segments * (self.places + 1) + place].map_or(0, |(_, from)| from);
            (cuts[segments - 1], place) = (from, from);
        }
        cuts
    }
}

/// A segment that grows step by step.
struct Growth<'a> {
    chain: &'a Chain,
    /// Values by the step that they begin at, and by the one that they end at.
    beginning: Vec<Vec<u32>>,
    ending: Vec<Vec<u32>>,
    from: u32,
    /// Bytes of own values and scratch at each step.
    live: Vec<u64>,
    memory: SegmentMemory,
}

impl<'a> Growth<'a> {
    fn new(chain: &'a Chain) -> Self {
        let (mut beginning, mut ending) = (vec![Vec::new(); chain.steps.len()], vec![Vec::new(); chain.steps.len()]);
        for (number, value) in (0u32..).zip(&chain.values) {
            if let (Some(first), Some(last)) =
                (beginning.get_mut(value.first as usize), ending.get_mut(value.last as usize))
            {
                first.push(number);
                last.push(number);
            }
        }
        Self { chain, beginning, ending, from: 0, live: vec![0; chain.steps.len()], memory: SegmentMemory::default() }
    }

    fn value(&self, number: u32) -> &'a Span {
        &self.chain.values[number as usize]
    }

    /// Begins anew, in front of `step`.
    fn start(&mut self, step: u32) {
        self.from = step;
        for (live, step) in self.live.iter_mut().zip(&self.chain.steps) {
            *live = step.scratch_bytes;
        }
        let crosses = |value: &&Span| value.first < step && value.last >= step;
        let boundary_bytes = self.chain.values.iter().filter(crosses).map(|value| value.bytes).sum();
        self.memory = SegmentMemory { boundary_bytes, ..SegmentMemory::default() };
    }

    fn add(&mut self, step: u32) {
        let index = step as usize;
        let unread = |previous: &Option<u32>| previous.is_none_or(|previous| previous < self.from);
        let weights = self.chain.steps[index].weights.iter().filter(|(_, previous)| unread(previous));
        self.memory.weights_bytes += weights.map(|(bytes, _)| bytes).sum::<u64>();
        self.memory.activation_bytes = self.memory.activation_bytes.max(self.live[index]);
        for position in 0..self.beginning[index].len() {
            self.memory.boundary_bytes += self.value(self.beginning[index][position]).bytes;
        }
        for position in 0..self.ending[index].len() {
            self.take_in(*self.value(self.ending[index][position]));
        }
    }

    /// A value that begins and ends inside is no boundary value any more.
    fn take_in(&mut self, value: Span) {
        if value.is_external || value.first < self.from {
            return;
        }
        self.memory.boundary_bytes -= value.bytes;
        let Some(reserved_from) = value.reserved_from else { return };
        for live in &mut self.live[reserved_from.max(self.from) as usize..=value.last as usize] {
            *live += value.bytes;
            self.memory.activation_bytes = self.memory.activation_bytes.max(*live);
        }
    }
}

fn crossing(chain: &Chain, start: u32) -> u64 {
    let crosses = |value: &&Span| value.first < start && value.last >= start;
    chain.values.iter().filter(crosses).map(|value| value.bytes).sum()
}

/// Keeps the places that fewest bytes cross, where there are too many.
fn narrowest(chain: &Chain, starts: &mut Vec<u32>) {
    if starts.len() > MOST_CUTS {
        starts.sort_by_cached_key(|&start| (crossing(chain, start), start));
        starts.truncate(MOST_CUTS);
        starts.sort_unstable();
    }
}
