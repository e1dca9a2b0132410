//! The account: what is in memory kernel after kernel, and what makes the peak.

use super::WORKSPACE_BYTES;
use super::charge::{Charge, Place};
use super::kernels::{Block, Kernels, is_multiplication};
use crate::precision::node_label;
use serde::{Deserialize, Serialize};
use trtforge_graph::memory_plan::{self, Occupancy};
use trtforge_graph::{Graph, NodeId, Producer, Storage, ValueId, known_lifetimes};

/// What an engine's activation memory is made of at its peak.
///
/// `tensors_bytes + workspace_bytes + gaps_bytes` is `explained_bytes`, and so is the sum of what [`Charge::charged_bytes`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationAccount {
    /// The least that the values between nodes take when node runs after node and nothing is fused: a bound that knows nothing of the compiler.
    pub bound_bytes: u64,
    /// Tensors of the activation memory at the peak.
    pub tensors_bytes: u64,
    /// Scratch memory of the kernel at the peak.
    pub workspace_bytes: u64,
    /// Memory between tensors, where nothing fits.
    pub gaps_bytes: u64,
    /// What the compiler is expected to charge.
    pub explained_bytes: u64,
    /// The kernel at the peak: its node with weights, or its last.
    pub kernel: String,
    /// Its place in `moments`.
    pub step: usize,
    /// Everything there at the peak, what is charged most first.
    pub charges: Vec<Charge>,
    /// Every kernel, in running order.
    pub moments: Vec<Moment>,
    /// Values that are left out because their size is not known.
    pub unknown: usize,
}

/// What is in the activation memory while one kernel runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The kernel: its node with weights, or its last.
    pub kernel: String,
    /// Bytes of tensors.
    pub tensors_bytes: u64,
    /// Bytes of scratch memory.
    pub workspace_bytes: u64,
}

/// Accounts for the activation memory of the engine of `graph`, which should be what the compiler gets, every shape settled and every value typed.
///
/// Nodes are grouped into kernels; what one kernel writes and a later one reads is a block of memory, and a kernel with weights has [`WORKSPACE_BYTES`] beside.
/// Blocks are placed in the order in which they are written, each at the lowest free address. The sources are builds: see ARCHITECTURE.md, "What TensorRT-RTX charges for".
pub fn account(graph: &Graph) -> ActivationAccount {
    let kernels = Kernels::of(graph);
    let arena = Arena::pack(&kernels, graph);
    let step = arena.peak;
    let live: Vec<&Block> = arena.blocks.iter().filter(|block| is_live(*block, step)).collect();
    let tensors_bytes = live.iter().map(|block| block.bytes).sum();
    let workspace_bytes = workspace(&kernels, step);
    let (lifetimes, unknown) = known_lifetimes(graph);
    let own: Vec<_> = lifetimes.into_iter().filter(|it| it.storage == Storage::Activation).collect();
    let gaps_bytes = arena.bytes - tensors_bytes - workspace_bytes;
    let names = names(graph, &kernels);
    let listing = Listing { graph, kernels: &kernels, names: &names, step };
    ActivationAccount {
        bound_bytes: memory_plan::lower_bound(&own).bytes,
        tensors_bytes,
        workspace_bytes,
        gaps_bytes,
        explained_bytes: arena.bytes,
        kernel: names[step as usize].clone(),
        step: step as usize,
        charges: listing.charges(&live, workspace_bytes, gaps_bytes),
        moments: moments(&names, &kernels, &arena.blocks),
        unknown: unknown.len(),
    }
}

fn workspace(kernels: &Kernels, step: u32) -> u64 {
    if kernels.with_workspace().contains(&step) { WORKSPACE_BYTES } else { 0 }
}

fn is_live(block: &impl Occupancy, step: u32) -> bool {
    (block.first()..=block.last()).contains(&step)
}

/// The activation memory with everything in its place.
struct Arena {
    blocks: Vec<Block>,
    bytes: u64,
    /// The kernel at which it reaches furthest.
    peak: u32,
}

impl Arena {
    fn pack(kernels: &Kernels, graph: &Graph) -> Self {
        let blocks = kernels.blocks(graph);
        let mut spans: Vec<(u64, u32, u32)> = blocks.iter().map(|it| (it.bytes, it.first, it.last)).collect();
        spans.extend(kernels.with_workspace().iter().map(|&step| (WORKSPACE_BYTES, step, step)));
        spans.sort_by_key(|&(_, first, _)| first);
        let (bytes, peak) = first_fit(&spans);
        Arena { blocks, bytes, peak }
    }
}

/// Size of the memory in which each span lies at the lowest address that is free all the time it is there, and the step of the one that reaches furthest.
fn first_fit(spans: &[(u64, u32, u32)]) -> (u64, u32) {
    let mut placed: Vec<(u64, u64, u32, u32)> = Vec::with_capacity(spans.len());
    let (mut bytes, mut peak) = (0, 0);
    for &(size, first, last) in spans {
        let mut taken: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&(.., from, to)| from <= last && first <= to)
            .map(|&(at, end, ..)| (at, end))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (begin, end) in taken {
            if begin >= at + size {
                break;
            }
            at = at.max(end);
        }
        placed.push((at, at + size, first, last));
        if at + size > bytes {
            (bytes, peak) = (at + size, first);
        }
    }
    (bytes, peak)
}

fn moments(names: &[String], kernels: &Kernels, blocks: &[Block]) -> Vec<Moment> {
    let mut moments: Vec<Moment> =
        names.iter().map(|kernel| Moment { kernel: kernel.clone(), ..Moment::default() }).collect();
    for (moment, bytes) in moments.iter_mut().zip(memory_plan::live_bytes(blocks, kernels.count())) {
        moment.tensors_bytes = bytes;
    }
    kernels.with_workspace().iter().for_each(|&step| moments[step as usize].workspace_bytes = WORKSPACE_BYTES);
    moments
}

/// Names of all kernels: each goes by its first node with weights, or by its last node.
fn names(graph: &Graph, kernels: &Kernels) -> Vec<String> {
    let mut namesakes: Vec<Option<NodeId>> = vec![None; kernels.count() as usize];
    for node in graph.node_ids() {
        let Some(step) = kernels.of_node(node) else { continue };
        let namesake = &mut namesakes[step as usize];
        if !namesake.is_some_and(|known| is_multiplication(graph, known)) {
            *namesake = Some(node);
        }
    }
    let name = |node: Option<NodeId>| node.map_or_else(|| "inputs".to_owned(), |node| node_label(graph, node));
    namesakes.into_iter().map(name).collect()
}

/// Makes the lines of an account.
struct Listing<'a> {
    graph: &'a Graph,
    kernels: &'a Kernels,
    names: &'a [String],
    step: u32,
}

impl Listing<'_> {
    fn charges(&self, live: &[&Block], workspace_bytes: u64, gaps_bytes: u64) -> Vec<Charge> {
        let mut charges = Vec::new();
        for block in live {
            charges.push(self.block(block));
            charges.extend(block.parts.iter().filter(|part| self.is_used(**part)).map(|part| self.part(block, *part)));
        }
        if workspace_bytes > 0 {
            charges.push(self.workspace(workspace_bytes));
        }
        if gaps_bytes > 0 {
            charges.push(gap(gaps_bytes));
        }
        charges.extend(self.elsewhere());
        charges.sort_by(|one, other| {
            let key = |charge: &Charge| (charge.charged_bytes, charge.bytes);
            key(other).cmp(&key(one)).then_with(|| one.name.cmp(&other.name))
        });
        charges
    }

    fn block(&self, block: &Block) -> Charge {
        let reason = match (block.first == self.step, block.last == self.step) {
            (true, _) => "written here".to_owned(),
            (false, true) => "read here".to_owned(),
            (false, false) => format!("waits for {}", self.names[block.last as usize]),
        };
        Charge { charged_bytes: block.bytes, reason, ..self.tensor(block.value, Place::Activation) }
    }

    fn part(&self, block: &Block, part: ValueId) -> Charge {
        let whole = self.graph.value(block.value).name.clone();
        Charge { reason: "written in place, or a view".to_owned(), ..self.tensor(part, Place::Inside(whole)) }
    }

    fn workspace(&self, bytes: u64) -> Charge {
        Charge {
            name: self.names[self.step as usize].clone(),
            ty: None,
            bytes,
            charged_bytes: bytes,
            place: Place::Workspace,
            reason: "every kernel with weights is charged this much".to_owned(),
        }
    }

    /// What the kernel reads and writes outside the activation memory.
    fn elsewhere(&self) -> Vec<Charge> {
        let mut values: Vec<ValueId> = Vec::new();
        for node in self.kernels.nodes(self.graph, self.step) {
            values.extend(self.graph.inputs(node).iter().chain(self.graph.outputs(node)).flatten());
        }
        values.sort_unstable();
        values.dedup();
        values.into_iter().filter_map(|value| Some(self.tensor(value, self.outside(value)?))).collect()
    }

    fn outside(&self, value: ValueId) -> Option<Place> {
        let known = self.graph.value(value);
        match known.producer {
            Producer::GraphInput => Some(Place::Input),
            Producer::Initializer => Some(Place::Weights),
            Producer::Node { .. } => known.is_output.then_some(Place::Output),
        }
    }

    /// Whether a value is written or read by the kernel.
    fn is_used(&self, value: ValueId) -> bool {
        let value = self.graph.value(value);
        let readers = value.consumers.iter().map(|reader| reader.node);
        let writer = match value.producer {
            Producer::Node { node, .. } => Some(node),
            _ => None,
        };
        readers.chain(writer).any(|node| self.kernels.of_node(node) == Some(self.step))
    }

    fn tensor(&self, value: ValueId, place: Place) -> Charge {
        let value = self.graph.value(value);
        let bytes = value.ty.as_ref().and_then(|ty| ty.tensor()?.bytes()).unwrap_or(0);
        let reason = "used here".to_owned();
        let ty = value.ty.as_ref().map(ToString::to_string);
        Charge { name: value.name.clone(), ty, bytes, charged_bytes: 0, place, reason }
    }
}

fn gap(bytes: u64) -> Charge {
    Charge {
        name: "between tensors".to_owned(),
        ty: None,
        bytes,
        charged_bytes: bytes,
        place: Place::Gap,
        reason: "free, and too small for what is placed later".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_below_goes_below() {
        // The third finds the place of the first, the fourth finds none that is large enough.
        let spans = [(100, 0, 1), (50, 1, 4), (80, 2, 4), (30, 3, 3)];
        assert_eq!(first_fit(&spans), (180, 3));
        assert_eq!(first_fit(&[]), (0, 0));
    }

    proptest! {
        #[test]
        fn placing_takes_at_least_what_is_live_and_at_most_everything(
            spans in proptest::collection::vec((0u64..1000, 0u32..30, 0u32..10), 0..60)
        ) {
            let mut spans: Vec<_> = spans.into_iter().map(|(bytes, first, more)| (bytes, first, first + more)).collect();
            spans.sort_by_key(|&(_, first, _)| first);
            let (bytes, peak) = first_fit(&spans);
            prop_assert!(bytes >= memory_plan::lower_bound(&spans).bytes);
            prop_assert!(bytes <= spans.iter().map(|(bytes, ..)| bytes).sum());
            prop_assert!(bytes == 0 || spans.iter().any(|&(_, first, last)| (first..=last).contains(&peak)));
        }
    }
}
