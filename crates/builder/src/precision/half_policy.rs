//! Which nodes may compute in half precision, and why the others may not.
//!
//! Rules are tried in order; the first that speaks decides. A rule sees one node, its operator, its constants and the ranges its values took.
//! Nothing here changes a graph: the result is a [`PrecisionTable`].

use super::output_functions::output_functions;
use super::table::{NodePrecision, PrecisionRow, PrecisionTable};
use super::{FloatSlots, Ranges, is_cast, is_float32};
use regex::Regex;
use std::collections::HashSet;
use trtforge_graph::{Graph, NodeId, Producer, ValueId, ValueType};

/// Largest finite half-precision number.
pub const HALF_MAX: f32 = 65504.0;
/// Smallest normal half-precision number; below it precision fades bit by bit.
const HALF_MIN_NORMAL: f32 = 6.103_515_6e-5;
/// Operators through which a position or a count may pass on its way to an integer.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Add",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Div",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Reshape",
    "Round",
    "Slice",
    "Split",
    "Squeeze",
    "Sub",
    "Tile",
    "Transpose",
    "Unsqueeze",
];
/// A softmax over more elements has a mean probability below [`HALF_MIN_NORMAL`].
const LONGEST_HALF_SOFTMAX: u64 = 8192;

/// Operators that have no half-precision kernel in TensorRT, or whose inputs are only defined for 32 bits.
const WITHOUT_HALF_KERNEL: &[&str] = &[
    "NonMaxSuppression",
    "Upsample",
    "Range",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "STFT",
    "DFT",
    "MelWeightMatrix",
    "HannWindow",
    "HammingWindow",
    "BlackmanWindow",
    "Det",
    "NonZero",
    "Unique",
    "ImageDecoder",
    "AffineGrid",
];

/// Operators that add up squares or many terms, or address pixels: half precision loses what they are for.
const NEEDS_FLOAT: &[&str] = &[
    "LayerNormalization",
    "RMSNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "MeanVarianceNormalization",
    "LpNormalization",
    "LRN",
    "SkipLayerNormalization",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceProd",
    "CumSum",
    "GridSample",
    "DeformConv",
    "LSTM",
    "GRU",
    "RNN",
    "RoiAlign",
    "MaxRoiPool",
    "LpPool",
    "GlobalLpPool",
];

/// A `--keep PRECISION:REGEX`: nodes whose name matches stay in that precision.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Precision to keep.
    pub precision: NodePrecision,
    /// Pattern over node names; matches anywhere in the name.
    pub pattern: Regex,
}

/// A text that is no `PRECISION:REGEX`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` keeps nothing: {reason}; write fp32:REGEX or fp16:REGEX")]
pub struct KeepParseError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl std::str::FromStr for Keep {
    type Err = KeepParseError;

    fn from_str(text: &str) -> Result<Self, KeepParseError> {
        let error = |reason: String| KeepParseError { text: text.to_owned(), reason };
        let (precision, pattern) = text.split_once(':').ok_or_else(|| error("it has no colon".into()))?;
        let precision = match precision {
            "fp32" => NodePrecision::Fp32,
            "fp16" => NodePrecision::Fp16,
            other => return Err(error(format!("`{other}` is no precision to keep"))),
        };
        let pattern = Regex::new(pattern).map_err(|problem| {
            let drawing = problem.to_string();
            let message = drawing.lines().last().unwrap_or_default().trim_start_matches("error: ");
            error(format!("`{pattern}` is no regular expression ({message})"))
        })?;
        Ok(Keep { precision, pattern })
    }
}

/// The range-aware half-precision policy.
#[derive(Clone, Debug)]
pub struct HalfPolicy<'a> {
    /// Observed ranges; without them only operators, constants and structure decide.
    pub ranges: Option<&'a Ranges>,
    /// Largest magnitude a half-precision value may have been seen with.
    pub limit: f32,
    /// The user's exceptions, which win over every rule.
    pub keep: &'a [Keep],
}

type Verdict = Option<(NodePrecision, String)>;

/// What the rules look at besides the node itself; computed once per graph.
struct Facts<'g> {
    graph: &'g Graph,
    data_independent: HashSet<NodeId>,
    variance: HashSet<NodeId>,
    output_functions: HashSet<NodeId>,
    whole_numbers: HashSet<NodeId>,
}

impl HalfPolicy<'_> {
    /// Decides for every node of `graph`, whose values must have types.
    pub fn decide(&self, graph: &Graph) -> PrecisionTable {
        let facts = Facts {
            graph,
            data_independent: data_independent_nodes(graph),
            variance: variance_chains(graph),
            output_functions: output_functions(graph),
            whole_numbers: whole_numbers(graph),
        };
        let mut table = PrecisionTable::default();
        for node in graph.node_ids() {
            let (precision, reason) = self.verdict(&facts, node);
            let operator = graph.op_type(node).to_owned();
            table.set(node, PrecisionRow { node: node_label(graph, node), operator, precision, reason });
        }
        join_stranded_nodes(graph, &mut table);
        table
    }

    /// Patterns of `keep` that match no node of `graph`: likely a mistake worth a warning.
    pub fn unmatched_keeps(&self, graph: &Graph) -> Vec<String> {
        let matches = |keep: &Keep| graph.node_ids().any(|node| keep.pattern.is_match(&node_label(graph, node)));
        self.keep.iter().filter(|keep| !matches(keep)).map(|keep| keep.pattern.to_string()).collect()
    }

    fn verdict(&self, facts: &Facts, node: NodeId) -> (NodePrecision, String) {
        let rules: [&dyn Fn() -> Verdict; 11] = [
            &|| untouched(facts.graph, node),
            &|| self.kept_by_user(facts.graph, node),
            &|| unknown_operator(facts.graph, node),
            &|| control_flow(facts.graph, node),
            &|| operator(facts.graph, node),
            &|| facts.data_independent.contains(&node).then(|| fp32("shape and position arithmetic")),
            &|| facts.variance.contains(&node).then(|| fp32("variance chain of a normalisation")),
            &|| facts.output_functions.contains(&node).then(|| fp32("makes the scores of an output")),
            &|| facts.whole_numbers.contains(&node).then(|| fp32("becomes a whole number")),
            &|| constants(facts.graph, node),
            &|| self.observed(facts.graph, node),
        ];
        rules.iter().find_map(|rule| rule()).unwrap_or_else(|| (NodePrecision::Fp16, self.default_reason().into()))
    }

    fn default_reason(&self) -> &'static str {
        if self.ranges.is_some() {
            "observed values fit half precision"
        } else {
            "operator has a half-precision kernel"
        }
    }

    fn kept_by_user(&self, graph: &Graph, node: NodeId) -> Verdict {
        let label = node_label(graph, node);
        let keep = self.keep.iter().find(|keep| keep.pattern.is_match(&label))?;
        Some((keep.precision, format!("kept by `{}`", keep.pattern)))
    }

    /// Ranges of every floating-point input and output. What a mean adds up on the way is not looked at: TensorRT adds up in 32 bits.
    fn observed(&self, graph: &Graph, node: NodeId) -> Verdict {
        let ranges = self.ranges?;
        for value in float_values(graph, node) {
            let name = &graph.value(value).name;
            let Some(range) = ranges.get(name) else { continue };
            let amax = range.amax();
            if amax > self.limit {
                return Some(fp32(&format!("`{name}` reaches {amax:.4e}, the limit is {:.4e}", self.limit)));
            }
            if amax > 0.0 && amax < HALF_MIN_NORMAL {
                return Some(fp32(&format!("`{name}` stays below {amax:.1e}, where half precision fades")));
            }
        }
        None
    }
}

fn fp32(reason: &str) -> (NodePrecision, String) {
    (NodePrecision::Fp32, reason.to_owned())
}

/// The name by which the user knows a node.
pub(crate) fn node_label(graph: &Graph, node: NodeId) -> String {
    let proto = graph.node(node);
    match proto.name.as_deref() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => proto.output.iter().find(|name| !name.is_empty()).cloned().unwrap_or_default(),
    }
}

fn float_values(graph: &Graph, node: NodeId) -> impl Iterator<Item = ValueId> + '_ {
    let values = graph.inputs(node).iter().chain(graph.outputs(node)).copied().flatten();
    values.filter(|&value| is_float32(graph, value))
}

fn first(values: &[Option<ValueId>]) -> Option<ValueId> {
    values.first().copied().flatten()
}

fn untouched(graph: &Graph, node: NodeId) -> Verdict {
    let no_floats = float_values(graph, node).next().is_none();
    (no_floats || matches!(graph.op_type(node), "Shape" | "Size"))
        .then(|| (NodePrecision::Untouched, "no 32-bit floating-point data".into()))
}

fn unknown_operator(graph: &Graph, node: NodeId) -> Verdict {
    match FloatSlots::of(graph, node) {
        None => Some(fp32("operator outside the table of known type rules")),
        Some(slots) if slots.is_empty() => Some(fp32("its type is not tied to its inputs")),
        Some(_) => None,
    }
}

fn control_flow(graph: &Graph, node: NodeId) -> Verdict {
    let has_subgraph =
        graph.node(node).attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty());
    has_subgraph.then(|| fp32("control flow: its bodies stay as they are"))
}

fn operator(graph: &Graph, node: NodeId) -> Verdict {
    let op = graph.op_type(node);
    if WITHOUT_HALF_KERNEL.contains(&op) {
        return Some(fp32(&format!("{op} has no half-precision kernel")));
    }
    if NEEDS_FLOAT.contains(&op) {
        return Some(fp32(&format!("{op} needs 32 bits inside")));
    }
    if matches!(op, "Softmax" | "LogSoftmax") {
        let input = first(graph.inputs(node))?;
        let length = softmax_length(graph, node, input)?;
        return (length > LONGEST_HALF_SOFTMAX).then(|| fp32(&format!("softmax over {length} elements")));
    }
    None
}

fn softmax_length(graph: &Graph, node: NodeId, input: ValueId) -> Option<u64> {
    let Some(ValueType::Tensor(ty)) = &graph.value(input).ty else { return None };
    let shape = ty.shape.as_ref()?;
    let flattens = graph.opset("").is_some_and(|version| version < 13);
    let axis = graph.attribute_int(node, "axis").unwrap_or(if flattens { 1 } else { -1 });
    let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
    let span = if flattens { shape.get(axis..)? } else { shape.get(axis..=axis)? };
    span.iter().map(|dimension| dimension.fixed()).product()
}

/// Constants that overflow, or that are too small to be told from zero.
fn constants(graph: &Graph, node: NodeId) -> Verdict {
    for value in graph.inputs(node).iter().copied().flatten().filter(|&value| is_float32(graph, value)) {
        let Some(tensor) = graph.constant(value) else { continue };
        let Ok(data) = tensor.as_slice::<f32>() else { continue };
        let name = &graph.value(value).name;
        let amax = finite_amax(data);
        if amax > HALF_MAX {
            return Some(fp32(&format!("constant `{name}` holds {amax:.4e}, beyond {HALF_MAX}")));
        }
        if amax > 0.0 && amax < HALF_MIN_NORMAL {
            return Some(fp32(&format!("constant `{name}` is at most {amax:.1e}, where half precision fades")));
        }
    }
    None
}

fn finite_amax(data: &[f32]) -> f32 {
    data.iter().map(|x| x.abs()).filter(|x| x.is_finite()).fold(0.0, f32::max)
}

/// Arithmetic that ends in whole numbers: positions, indices, counts. Half precision has no whole numbers past 2048 one by one, and a position is wrong
/// long before that where it is taken apart by division.
fn whole_numbers(graph: &Graph) -> HashSet<NodeId> {
    let mut found = HashSet::new();
    let nodes: Vec<NodeId> = graph.node_ids().collect();
    for &node in nodes.iter().rev() {
        let outputs = || graph.outputs(node).iter().flatten();
        let to_integer = is_cast(graph, node) && outputs().any(|&value| is_wide_integer(graph, value));
        let mut users = outputs().flat_map(|&value| &graph.value(value).consumers);
        if to_integer || (ELEMENTWISE.contains(&graph.op_type(node)) && users.any(|user| found.contains(&user.node))) {
            found.insert(node);
        }
    }
    found
}

fn is_wide_integer(graph: &Graph, value: ValueId) -> bool {
    use trtforge_graph::ElementType::{Int32, Int64, UInt32, UInt64};
    matches!(graph.value(value).ty.as_ref().and_then(ValueType::element), Some(Int32 | Int64 | UInt32 | UInt64))
}

/// Nodes whose value does not depend on the data of any input, only on shapes and constants.
fn data_independent_nodes(graph: &Graph) -> HashSet<NodeId> {
    let mut independent = HashSet::new();
    for node in graph.node_ids() {
        let from_shape = matches!(graph.op_type(node), "Shape" | "Size");
        let known = |value: ValueId| match graph.value(value).producer {
            Producer::Initializer => true,
            Producer::GraphInput => false,
            Producer::Node { node, .. } => independent.contains(&node),
        };
        let has_subgraph = control_flow(graph, node).is_some();
        if from_shape || (!has_subgraph && graph.inputs(node).iter().copied().flatten().all(known)) {
            independent.insert(node);
        }
    }
    independent
}

/// `x - mean(x)`, its square, the mean of that and what follows up to the division: a normalisation written out.
fn variance_chains(graph: &Graph) -> HashSet<NodeId> {
    let mut chain = HashSet::new();
    for mean in graph.node_ids().filter(|&node| graph.op_type(node) == "ReduceMean") {
        let Some(square) = producer_of_input(graph, mean, 0) else { continue };
        if !is_square(graph, square) {
            continue;
        }
        chain.extend([square, mean]);
        extend_up(graph, square, &mut chain);
        extend_down(graph, mean, &mut chain);
    }
    chain
}

fn producer_of_input(graph: &Graph, node: NodeId, slot: usize) -> Option<NodeId> {
    match graph.value(graph.inputs(node).get(slot).copied().flatten()?).producer {
        Producer::Node { node, .. } => Some(node),
        _ => None,
    }
}

fn is_square(graph: &Graph, node: NodeId) -> bool {
    let inputs = graph.inputs(node);
    match graph.op_type(node) {
        "Mul" => inputs.len() == 2 && inputs[0] == inputs[1],
        "Pow" => inputs
            .get(1)
            .copied()
            .flatten()
            .and_then(|exponent| graph.constant(exponent))
            .is_some_and(|e| e.to_vec_f32().is_ok_and(|e| e == [2.0])),
        _ => false,
    }
}

fn extend_up(graph: &Graph, square: NodeId, chain: &mut HashSet<NodeId>) {
    let Some(difference) = producer_of_input(graph, square, 0).filter(|&node| graph.op_type(node) == "Sub") else {
        return;
    };
    chain.insert(difference);
    if let Some(mean) = producer_of_input(graph, difference, 1).filter(|&node| graph.op_type(node) == "ReduceMean") {
        chain.insert(mean);
    }
}

fn extend_down(graph: &Graph, from: NodeId, chain: &mut HashSet<NodeId>) {
    let mut frontier = vec![from];
    while let Some(node) = frontier.pop() {
        for output in graph.outputs(node).iter().copied().flatten() {
            for user in &graph.value(output).consumers {
                let op = graph.op_type(user.node);
                let ends = matches!(op, "Div" | "Mul");
                if ends {
                    chain.insert(user.node);
                } else if matches!(op, "Add" | "Sqrt" | "Reciprocal" | "Pow") && chain.insert(user.node) {
                    frontier.push(user.node);
                }
            }
        }
    }
}

/// A node that only moves or combines data between 32-bit neighbours joins them: two casts fewer, nothing lost.
fn join_stranded_nodes(graph: &Graph, table: &mut PrecisionTable) {
    for node in graph.node_ids() {
        if table.precision(node) != NodePrecision::Fp16 || has_weights(graph, node) {
            continue;
        }
        let kept = |other: NodeId| table.precision(other) == NodePrecision::Fp32;
        let sources: Vec<NodeId> =
            (0..graph.inputs(node).len()).filter_map(|slot| producer_of_input(graph, node, slot)).collect();
        let mut users =
            graph.outputs(node).iter().copied().flatten().flat_map(|value| graph.value(value).consumers.iter());
        let has_users = graph.outputs(node).iter().flatten().any(|&value| !graph.value(value).consumers.is_empty());
        if !sources.is_empty()
            && sources.iter().all(|&source| kept(source))
            && has_users
            && users.all(|user| kept(user.node))
        {
            let operator = graph.op_type(node).to_owned();
            let reason = "between nodes that stay in 32 bits".to_owned();
            table.set(
                node,
                PrecisionRow { node: node_label(graph, node), operator, precision: NodePrecision::Fp32, reason },
            );
        }
    }
}

fn has_weights(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.op_type(node), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}
