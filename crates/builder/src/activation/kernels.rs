//! Which nodes a compiler runs together, and what has to be in memory meanwhile, guessed from the graph alone.
//!
//! The rules are those that TensorRT-RTX 1.7 was seen to follow: elementwise nodes run inside the kernel of what they follow; a Concat is written in place by the
//! kernels of its inputs; Split and row slices are views; everything before the first convolution is one kernel.

use std::collections::{BTreeMap, HashMap};
use trtforge_graph::memory_plan::Occupancy;
use trtforge_graph::{Graph, NodeId, Producer, ValueId};

/// Which nodes run together, numbered in running order.
pub(crate) struct Kernels {
    of_node: HashMap<NodeId, u32>,
    convolutions: Vec<u32>,
    count: u32,
}

/// A block of the activation memory: one value, and those that lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The value whose size the block has.
    pub(crate) value: ValueId,
    /// Its size.
    pub(crate) bytes: u64,
    /// The kernel that writes it first.
    pub(crate) first: u32,
    /// The kernel that reads it last.
    pub(crate) last: u32,
    /// Other values in it: parts of a concatenation, views.
    pub(crate) parts: Vec<ValueId>,
}

impl Occupancy for Block {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn first(&self) -> u32 {
        self.first
    }

    fn last(&self) -> u32 {
        self.last
    }
}

impl Kernels {
    /// Groups the nodes of a graph.
    pub(crate) fn of(graph: &Graph) -> Self {
        // Kernel 0 is what happens to the network's inputs before anything is computed.
        let mut kernels = Kernels { of_node: HashMap::new(), convolutions: vec![], count: 1 };
        for node in graph.node_ids() {
            let step = match kernels.host(graph, node) {
                Some(step) => step,
                None => {
                    kernels.count += 1;
                    kernels.count - 1
                }
            };
            kernels.of_node.insert(node, step);
            if is_multiplication(graph, node) {
                kernels.convolutions.push(step);
            }
        }
        kernels
    }

    /// Number of kernels.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The kernel that a node runs in.
    pub(crate) fn of_node(&self, node: NodeId) -> Option<u32> {
        self.of_node.get(&node).copied()
    }

    /// Kernels that convolve or multiply matrices, and so have scratch memory; in running order.
    pub(crate) fn with_workspace(&self) -> &[u32] {
        &self.convolutions
    }

    /// The nodes of one kernel, in running order.
    pub(crate) fn nodes<'a>(&'a self, graph: &'a Graph, step: u32) -> impl Iterator<Item = NodeId> + 'a {
        graph.node_ids().filter(move |node| self.of_node.get(node) == Some(&step))
    }

    /// The kernel that an earlier node runs in and this one can join.
    fn host(&self, graph: &Graph, node: NodeId) -> Option<u32> {
        if is_multiplication(graph, node) {
            return None;
        }
        let producers = graph.inputs(node).iter().flatten().filter_map(|&value| graph.producer(value));
        let latest = producers.filter_map(|producer| self.of_node.get(&producer).copied()).max().unwrap_or(0);
        let joins = match graph.op_type(node) {
            "QuantizeLinear" => !self.convolutions.contains(&latest),
            "Resize" | "MaxPool" | "AveragePool" | "GlobalAveragePool" | "Softmax" => false,
            _ => true,
        };
        (latest == 0 || joins).then_some(latest)
    }

    /// Everything that has to be in memory from one kernel to a later one, in the order in which it is written.
    pub(crate) fn blocks(&self, graph: &Graph) -> Vec<Block> {
        let mut blocks: BTreeMap<ValueId, Block> = BTreeMap::new();
        for node in graph.node_ids() {
            for &value in graph.outputs(node).iter().flatten() {
                if !is_constant(graph, node) {
                    self.add(graph, value, &mut blocks);
                }
            }
        }
        let mut blocks: Vec<Block> = blocks.into_values().filter(|block| block.first < block.last).collect();
        blocks.sort_by_key(|block| (block.first, block.value));
        blocks
    }

    /// Counts a value, or the value that it is a part of.
    fn add(&self, graph: &Graph, value: ValueId, blocks: &mut BTreeMap<ValueId, Block>) {
        let Some(node) = graph.producer(value) else { return };
        if graph.value(value).is_output {
            return;
        }
        let first = self.of_node[&node];
        let reads = graph.value(value).consumers.iter().map(|user| self.of_node[&user.node]);
        let last = reads.max().unwrap_or(first);
        let home = self.home(graph, value);
        let bytes = graph.value(home).ty.as_ref().and_then(|ty| ty.tensor()?.bytes()).unwrap_or(0);
        let block = blocks.entry(home).or_insert_with(|| Block { value: home, bytes, first, last, parts: Vec::new() });
        (block.first, block.last) = (block.first.min(first), block.last.max(last));
        if value != home {
            block.parts.push(value);
        }
    }

    /// The value in whose memory another lies: the Concat that it is written into, or what it is a view of.
    fn home(&self, graph: &Graph, value: ValueId) -> ValueId {
        let mut home = value;
        for _ in 0..graph.node_count() {
            let joined = graph.value(home).consumers.iter().find(|user| graph.op_type(user.node) == "Concat");
            let viewed = graph.producer(home).filter(|&node| self.of_node[&node] != 0 && is_view(graph, node));
            let next = match (joined, viewed) {
                (Some(user), _) => graph.output(user.node, 0),
                (None, Some(node)) => graph.input(node, 0).filter(|&source| graph.producer(source).is_some()),
                (None, None) => None,
            };
            match next {
                Some(next) if !graph.value(next).is_output => home = next,
                _ => return home,
            }
        }
        home
    }
}

/// Whether a node convolves or multiplies matrices.
pub(crate) fn is_multiplication(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

pub(crate) fn is_view(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Split" | "Slice" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity")
}

/// Whether a node computes what is known beforehand.
pub(crate) fn is_constant(graph: &Graph, node: NodeId) -> bool {
    let constant = |value: &ValueId| graph.value(*value).producer == Producer::Initializer;
    graph.op_type(node) == "Constant"
        || (!graph.inputs(node).is_empty() && graph.inputs(node).iter().flatten().all(constant))
}
