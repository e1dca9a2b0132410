//! A network as the search over cuts sees it: kernels in running order, what each reads, what lives between them.
//!
//! Steps are kernels, as the compiler is assumed to form them ([`Kernels`]), so that no cut lies inside one. Parts of a
//! concatenation are written in place.

use super::dimensions::OpenDimensions;
use crate::activation::{Kernels, WORKSPACE_BYTES, is_multiplication, is_view};
use std::collections::{BTreeMap, HashMap};
use trtforge_graph::segmentation::{Chain, Span, Step};
use trtforge_graph::{Graph, NodeId, Producer, Tensor, ValueId, is_repeated, read_through};

/// The kernels of a network, and the chain that they are.
pub(crate) struct Kernelled {
    /// The nodes of each step, in running order; repeated ones are in none.
    pub(crate) nodes: Vec<Vec<NodeId>>,
    /// The chain.
    pub(crate) chain: Chain,
    /// A value that keeps a place from being cut because its size is not known, if there is one.
    pub(crate) obstacle: Option<ValueId>,
}

impl Kernelled {
    pub(crate) fn of(graph: &Graph, open: &OpenDimensions) -> Self {
        let (nodes, step_of) = steps(graph);
        let uses = Uses::of(graph, &step_of);
        let mut chain = Chain { steps: uses.steps(graph, &nodes), ..Chain::default() };
        let mut barred = vec![false; nodes.len()];
        let mut obstacle = None;
        for (&value, &(first, last)) in &uses.spans {
            if joins_shared_parts(graph, value) {
                barred[first as usize..last as usize].fill(true);
            }
            match open.most_bytes(graph, value) {
                Some(bytes) => chain.values.push(uses.span(graph, value, bytes)),
                None if first < last => {
                    obstacle = obstacle.or(Some(value));
                    barred[first as usize..last as usize].fill(true);
                }
                None => {}
            }
        }
        chain.cuts = (0..(nodes.len() as u32).saturating_sub(1)).filter(|&step| !barred[step as usize]).collect();
        Self { nodes, chain, obstacle }
    }
}

/// Whether a value is a concatenation of which another node reads a part as well. TensorRT-RTX 1.7.1 crashes on a network that returns one, so no cut makes it an output.
fn joins_shared_parts(graph: &Graph, value: ValueId) -> bool {
    let concat = graph.producer(value).filter(|&node| graph.op_type(node) == "Concat");
    let mut parts = concat.into_iter().flat_map(|node| graph.inputs(node).iter().flatten());
    parts.any(|&part| graph.value(part).consumers.len() > 1)
}

/// The nodes of each kernel and the step of each node; steps are numbered without gaps.
fn steps(graph: &Graph) -> (Vec<Vec<NodeId>>, HashMap<NodeId, u32>) {
    let kernels = Kernels::of(graph);
    let mut kernel_of: HashMap<NodeId, u32> = HashMap::new();
    let counted: Vec<NodeId> = graph.node_ids().filter(|&node| !is_repeated(graph, node)).collect();
    // Last ones first: what reads a view may be a view.
    for &node in counted.iter().rev() {
        let own = kernels.of_node(node).unwrap_or(0);
        let readers = if is_view(graph, node) { first_reader(graph, node, &kernel_of) } else { None };
        kernel_of.insert(node, readers.map_or(own, |reader| reader.max(own)));
    }
    let mut by_kernel: BTreeMap<u32, Vec<NodeId>> = BTreeMap::new();
    for node in counted {
        by_kernel.entry(kernel_of[&node]).or_default().push(node);
    }
    let nodes: Vec<Vec<NodeId>> = by_kernel.into_values().collect();
    let step_of = (0u32..).zip(&nodes).flat_map(|(step, nodes)| nodes.iter().map(move |&node| (node, step))).collect();
    (nodes, step_of)
}

/// The first kernel that reads what a node makes. A view that is taken there crosses no cut in front of it, where it would be a copy beside what it shows.
fn first_reader(graph: &Graph, node: NodeId, kernel_of: &HashMap<NodeId, u32>) -> Option<u32> {
    let values = graph.outputs(node).iter().flatten().map(|&value| graph.value(value));
    let readers = values.map(|value| match value.is_output {
        true => None,
        false => {
            let readers = value.consumers.iter().map(|user| match is_repeated(graph, user.node) {
                true => first_reader(graph, user.node, kernel_of),
                false => kernel_of.get(&user.node).copied(),
            });
            readers.collect::<Option<Vec<_>>>()?.into_iter().min()
        }
    });
    readers.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// From which step to which each value is needed.
struct Uses {
    step_of: HashMap<NodeId, u32>,
    /// In the order of the values, so that equal inputs give equal chains.
    spans: BTreeMap<ValueId, (u32, u32)>,
    /// Steps that read each stored value, ascending.
    stored: BTreeMap<ValueId, Vec<u32>>,
}

impl Uses {
    fn of(graph: &Graph, step_of: &HashMap<NodeId, u32>) -> Self {
        let mut uses = Self { step_of: step_of.clone(), spans: BTreeMap::new(), stored: BTreeMap::new() };
        for node in graph.node_ids().filter(|node| step_of.contains_key(node)) {
            let step = step_of[&node];
            for value in read_through(graph, node) {
                uses.read(graph, value, step);
            }
            for &value in graph.outputs(node).iter().flatten() {
                uses.spans.entry(value).or_insert((step, step));
            }
        }
        uses.stored.values_mut().for_each(|steps| {
            steps.sort_unstable();
            steps.dedup();
        });
        uses
    }

    fn read(&mut self, graph: &Graph, value: ValueId, step: u32) {
        if graph.value(value).producer == Producer::Initializer {
            self.stored.entry(value).or_default().push(step);
            return;
        }
        let span = self.spans.entry(value).or_insert((step, step));
        *span = (span.0.min(step), span.1.max(step));
    }

    fn steps(&self, graph: &Graph, nodes: &[Vec<NodeId>]) -> Vec<Step> {
        let mut steps: Vec<Step> = nodes
            .iter()
            .map(|nodes| {
                let multiplies = nodes.iter().any(|&node| is_multiplication(graph, node));
                Step { weights: vec![], scratch_bytes: if multiplies { WORKSPACE_BYTES } else { 0 } }
            })
            .collect();
        for (value, readers) in &self.stored {
            let bytes = graph.initializer(*value).and_then(|tensor| Tensor::from_proto(tensor).ok());
            let bytes = bytes.map_or(0, |tensor| tensor.data.len() as u64);
            let previous = [None].into_iter().chain(readers.iter().copied().map(Some));
            for (&reader, previous) in readers.iter().zip(previous) {
                steps[reader as usize].weights.push((bytes, previous));
            }
        }
        steps
    }

    fn span(&self, graph: &Graph, value: ValueId, bytes: u64) -> Span {
        let (first, last) = self.spans[&value];
        let producer = graph.producer(value);
        let joins =
            |user: &trtforge_graph::Use| graph.op_type(user.node) == "Concat" && self.step_of.contains_key(&user.node);
        let is_part = graph.value(value).consumers.iter().any(joins);
        let reserved_from = match producer {
            _ if is_part || first == last => None,
            Some(node) if graph.op_type(node) == "Concat" => Some(self.first_part(graph, node, first)),
            _ => Some(first),
        };
        Span { bytes, first, last, is_external: producer.is_none() || graph.value(value).is_output, reserved_from }
    }

    /// The first step that writes a part of what a concatenation makes.
    fn first_part(&self, graph: &Graph, concat: NodeId, step: u32) -> u32 {
        let parts = graph.inputs(concat).iter().flatten().filter(|&&part| graph.producer(part).is_some());
        parts.filter_map(|part| self.spans.get(part)).map(|(first, _)| *first).min().unwrap_or(step).min(step)
    }
}
