//! A guess at the activation memory of an engine, from the graph alone: good enough to say which rewrite to try first, not to decide.
//!
//! What is assumed of the compiler, as measured on TensorRT-RTX 1.7: elementwise nodes run inside the kernel of what they follow; a Concat is written in place by the
//! kernels of its inputs; Split and row slices are views; a convolution kernel needs [`WORKSPACE_BYTES`] of scratch besides the tensors that are live; everything
//! before the first convolution is one kernel. Gaps between tensors are not counted.

use std::collections::HashMap;
use trtforge_graph::memory_plan::lower_bound;
use trtforge_graph::{Graph, NodeId, Producer, ValueId};

/// Scratch memory of a kernel that convolves or multiplies matrices.
pub const WORKSPACE_BYTES: u64 = 8_192_000;

/// The most bytes that are needed at once, and the nodes of the kernel that needs them.
pub fn estimated_activation(graph: &Graph) -> (u64, Vec<NodeId>) {
    peak(graph, |_| true)
}

/// As [`estimated_activation`], over the kernels up to the one that writes `value`.
pub(super) fn estimated_activation_until(graph: &Graph, value: ValueId) -> u64 {
    let last = |kernels: &Kernels| graph.producer(value).and_then(|node| kernels.of_node.get(&node).copied());
    let kernels = Kernels::of(graph);
    let last = last(&kernels).unwrap_or(u32::MAX);
    peak(graph, |step| step <= last).0
}

fn peak(graph: &Graph, counts: impl Fn(u32) -> bool) -> (u64, Vec<NodeId>) {
    let kernels = Kernels::of(graph);
    let mut spans = kernels.spans(graph);
    spans.extend(kernels.convolutions.iter().map(|&step| (WORKSPACE_BYTES, step, step)));
    spans.retain(|&(_, first, _)| counts(first));
    let bound = lower_bound(&spans);
    let peak = kernels.of_node.iter().filter(|&(_, &step)| step == bound.step).map(|(&node, _)| node).collect();
    (bound.bytes, peak)
}

/// Which nodes run together, numbered in running order.
pub(crate) struct Kernels {
    of_node: HashMap<NodeId, u32>,
    convolutions: Vec<u32>,
    count: u32,
}

impl Kernels {
    /// The kernel of a node.
    pub(crate) fn kernel(&self, node: NodeId) -> u32 {
        self.of_node.get(&node).copied().unwrap_or(0)
    }

    /// Whether a node convolves or multiplies matrices, which takes [`WORKSPACE_BYTES`].
    pub(crate) fn multiplies(graph: &Graph, node: NodeId) -> bool {
        is_multiplication(graph, node)
    }

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

    /// Bytes, first and last kernel of everything that has to be in memory.
    fn spans(&self, graph: &Graph) -> Vec<(u64, u32, u32)> {
        let mut spans: HashMap<ValueId, (u64, u32, u32)> = HashMap::new();
        for node in graph.node_ids() {
            for &value in graph.outputs(node).iter().flatten() {
                if !is_constant(graph, node) {
                    self.add(graph, value, &mut spans);
                }
            }
        }
        spans.into_values().filter(|&(_, first, last)| first < last).collect()
    }

    /// Counts a value, or the value that it is a part of.
    fn add(&self, graph: &Graph, value: ValueId, spans: &mut HashMap<ValueId, (u64, u32, u32)>) {
        let Some(node) = graph.producer(value) else { return };
        if graph.value(value).is_output {
            return;
        }
        let first = self.of_node[&node];
        let reads = graph.value(value).consumers.iter().map(|user| self.of_node[&user.node]);
        let last = reads.max().unwrap_or(first);
        let home = self.home(graph, value);
        let bytes = graph.value(home).ty.as_ref().and_then(|ty| ty.tensor()?.bytes()).unwrap_or(0);
        let span = spans.entry(home).or_insert((bytes, first, last));
        (span.1, span.2) = (span.1.min(first), span.2.max(last));
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

fn is_multiplication(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}

fn is_view(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Split" | "Slice" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Identity")
}

fn is_constant(graph: &Graph, node: NodeId) -> bool {
    let constant = |value: &ValueId| graph.value(*value).producer == Producer::Initializer;
    graph.op_type(node) == "Constant"
        || (!graph.inputs(node).is_empty() && graph.inputs(node).iter().flatten().all(constant))
}
