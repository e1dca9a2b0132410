//! Computes 1x1 convolutions of one tensor as one convolution.
//!
//! Pattern: two or more 1x1 convolutions (stride 1, one group, constant weights) that read one tensor and are followed by the same activation: one node without
//! other inputs, Sigmoid and Mul (SiLU), or nothing that could be shared. Result: one convolution with the weights of all, the activation once, and a Split that
//! makes the tensors of before.
//! Why: the shared input dies after the first of them instead of after the last, and it is often the largest tensor of its neighbourhood.
//! Precondition: types of the outputs are known; the graph is in 32 bits and not quantized. Numerical effect: none, every output is the sum of the same products.

use super::pointwise_convolution::{PointwiseConvolution, pointwise_node};
use super::resized;
use crate::Result;
use crate::passes::Pass;
use std::collections::{BTreeMap, HashSet};
use trtforge_graph::construct::{ints, node, tensor};
use trtforge_graph::proto::AttributeProto;
use trtforge_graph::{Graph, NodeId, Patch, Slot, ValueId};

/// Activation functions that are one node without constants.
const UNARY: &[&str] = &["Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Elu", "Softplus", "Mish"];

/// The pass.
pub struct MergeSiblingConvolutions;

impl Pass for MergeSiblingConvolutions {
    fn name(&self) -> &'static str {
        "merge-sibling-convolutions"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let groups: Vec<Vec<Sibling>> = graph.value_ids().flat_map(|value| siblings(graph, value)).collect();
        Ok(groups.iter().filter_map(|group| merge(graph, group)).collect())
    }
}

/// One convolution with what follows it.
struct Sibling {
    convolution: PointwiseConvolution,
    tail: Tail,
    /// The value behind the activation.
    result: ValueId,
}

/// What follows a convolution and belongs to it alone.
enum Tail {
    Nothing,
    Unary(NodeId),
    Silu { sigmoid: NodeId, product: NodeId },
}

/// What two tails must have in common to be one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind(String, String);

/// The groups of convolutions over `value` that can be merged.
fn siblings(graph: &Graph, value: ValueId) -> Vec<Vec<Sibling>> {
    let readers = graph.value(value).consumers.iter().filter(|user| user.slot == Slot::Input(0)).map(|user| user.node);
    let mut groups: BTreeMap<Kind, Vec<Sibling>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for reader in readers.filter(|reader| seen.insert(*reader)) {
        let Some(convolution) = PointwiseConvolution::read(graph, reader) else { continue };
        let (tail, result) = tail(graph, convolution.output);
        groups.entry(kind(graph, &tail)).or_default().push(Sibling { convolution, tail, result });
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

fn tail(graph: &Graph, output: ValueId) -> (Tail, ValueId) {
    let value = graph.value(output);
    let readers: Vec<NodeId> = value.consumers.iter().map(|user| user.node).collect();
    let captured = value.consumers.iter().any(|user| user.slot == Slot::Capture);
    if value.is_output || captured {
        return (Tail::Nothing, output);
    }
    match readers[..] {
        [only] if is_unary(graph, only) => match graph.output(only, 0) {
            Some(result) => (Tail::Unary(only), result),
            None => (Tail::Nothing, output),
        },
        [a, b] => silu(graph, a, b).or_else(|| silu(graph, b, a)).unwrap_or((Tail::Nothing, output)),
        _ => (Tail::Nothing, output),
    }
}

fn is_unary(graph: &Graph, node: NodeId) -> bool {
    graph.domain(node).is_empty() && UNARY.contains(&graph.op_type(node)) && graph.inputs(node).len() == 1
}

/// `product = x * sigmoid(x)`, where nothing else reads the sigmoid.
fn silu(graph: &Graph, sigmoid: NodeId, product: NodeId) -> Option<(Tail, ValueId)> {
    let is = |node: NodeId, op: &str| graph.domain(node).is_empty() && graph.op_type(node) == op;
    if !is(sigmoid, "Sigmoid") || !is(product, "Mul") {
        return None;
    }
    let gate = graph.output(sigmoid, 0)?;
    let own = graph.value(gate).consumers.iter().all(|user| user.node == product) && !graph.value(gate).is_output;
    let reads_gate = graph.inputs(product).contains(&Some(gate));
    (own && reads_gate).then_some((Tail::Silu { sigmoid, product }, graph.output(product, 0)?))
}

fn kind(graph: &Graph, tail: &Tail) -> Kind {
    match tail {
        Tail::Nothing => Kind(String::new(), String::new()),
        Tail::Silu { .. } => Kind("silu".into(), String::new()),
        Tail::Unary(node) => Kind(graph.op_type(*node).into(), describe(&graph.node(*node).attribute)),
    }
}

fn describe(attributes: &[AttributeProto]) -> String {
    let mut texts: Vec<String> =
        attributes.iter().map(|a| format!("{}={:?} {:?} {:?}", a.name(), a.f, a.i, a.s)).collect();
    texts.sort();
    texts.join(",")
}

fn merge(graph: &mut Graph, group: &[Sibling]) -> Option<Patch> {
    let first = group.first()?;
    let input = graph.value(graph.input(first.convolution.node, 0)?).name.clone();
    let stem = graph.value(first.result).name.clone();
    let outputs: usize = group.iter().map(|sibling| sibling.convolution.outputs).sum();
    let ty = resized(graph, first.convolution.output, 1, outputs as u64)?;
    let mut patch = Patch::new(format!("merge {} convolutions of `{input}`", group.len()));
    let weight = graph.unique_name(&format!("{stem}__merged_weight"));
    let merged: Vec<f32> = group.iter().flat_map(|sibling| &sibling.convolution.weight).copied().collect();
    patch.add_initializer(tensor(&weight, [outputs as u64, first.convolution.inputs as u64, 1, 1], merged));
    let bias = merged_bias(group).map(|bias| {
        let name = graph.unique_name(&format!("{stem}__merged_bias"));
        patch.add_initializer(tensor(&name, [outputs as u64], bias));
        name
    });
    let convolved = graph.unique_name(&format!("{stem}__merged"));
    patch.add_node(pointwise_node(&convolved, &input, &weight, bias.as_deref(), &convolved), vec![Some(ty.clone())]);
    let mut last = convolved;
    for activation in activation(graph, &first.tail, &last) {
        last.clone_from(activation.output.first()?);
        patch.add_node(activation, vec![Some(ty.clone())]);
    }
    add_split(graph, &mut patch, group, &last);
    remove(&mut patch, group);
    Some(patch)
}

/// The biases one behind the other; zeros for a convolution without one.
fn merged_bias(group: &[Sibling]) -> Option<Vec<f32>> {
    let any = group.iter().any(|sibling| sibling.convolution.bias.is_some());
    let bias = |sibling: &Sibling| match &sibling.convolution.bias {
        Some(bias) => bias.clone(),
        None => vec![0.0; sibling.convolution.outputs],
    };
    any.then(|| group.iter().flat_map(bias).collect())
}

/// The nodes of `tail` over `input`; the last one's output is the result.
fn activation(graph: &mut Graph, tail: &Tail, input: &str) -> Vec<trtforge_graph::proto::NodeProto> {
    match *tail {
        Tail::Nothing => vec![],
        Tail::Unary(original) => {
            let mut copy = graph.node(original).clone();
            let name = graph.unique_name(&format!("{input}__activation"));
            copy.name = Some(name.clone());
            copy.input = vec![input.to_owned()];
            copy.output = vec![name];
            vec![copy]
        }
        Tail::Silu { .. } => {
            let gate = graph.unique_name(&format!("{input}__gate"));
            let product = graph.unique_name(&format!("{input}__activation"));
            vec![node("Sigmoid", &gate, [input], [&gate]), node("Mul", &product, [input, &gate], [&product])]
        }
    }
}

fn add_split(graph: &mut Graph, patch: &mut Patch, group: &[Sibling], input: &str) {
    let sizes: Vec<i64> = group.iter().map(|sibling| sibling.convolution.outputs as i64).collect();
    let results: Vec<String> = group.iter().map(|sibling| graph.value(sibling.result).name.clone()).collect();
    let types = group.iter().map(|sibling| graph.value(sibling.result).ty.clone()).collect();
    let name = graph.unique_name(&format!("{input}__split"));
    let mut split = node("Split", &name, [input], results).attr_int("axis", 1);
    if graph.opset("").is_some_and(|opset| opset < 13) {
        split = split.attr(ints("split", sizes));
    } else {
        let lengths = graph.unique_name(&format!("{input}__lengths"));
        patch.add_initializer(tensor(&lengths, [sizes.len() as u64], sizes));
        split.input.push(lengths);
    }
    patch.add_node(split, types);
}

fn remove(patch: &mut Patch, group: &[Sibling]) {
    for sibling in group {
        patch.remove_node(sibling.convolution.node);
        match sibling.tail {
            Tail::Nothing => {}
            Tail::Unary(node) => drop(patch.remove_node(node)),
            Tail::Silu { sigmoid, product } => drop(patch.remove_node(sigmoid).remove_node(product)),
        }
    }
}
