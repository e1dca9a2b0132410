//! Which rows of its inputs a node needs for some rows of its output.
//!
//! Everything a band may contain is listed here; an operator that is not listed ends the segment.

use super::super::image_shape;
use super::windows::Window;
use std::collections::HashSet;
use trtforge_graph::{Graph, NodeId, Tensor, ValueId};

/// A range of rows; the end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rows {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Rows {
    pub(super) fn len(self) -> u64 {
        self.end - self.start
    }

    /// The smallest range that holds both.
    pub(super) fn hull(self, other: Rows) -> Rows {
        Rows { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// Operators whose output element depends on the elements at the same place of their inputs, constants aside.
const ELEMENTWISE: &[&str] = &[
    "Abs",
    "Add",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "Max",
    "Min",
    "Mish",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
];

/// How rows of the output follow from rows of the inputs.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Row for row.
    Same,
    /// A window slides over the rows.
    Window(Window),
    /// Every `step`-th row from `start` on.
    Slice { start: u64, step: u64 },
    /// Each row twice.
    Double,
}

impl Rule {
    /// The rows that the node writes where `wanted` are asked for.
    pub(super) fn written(&self, wanted: Rows) -> Rows {
        match self {
            Rule::Double => Rows { start: wanted.start / 2 * 2, end: wanted.end.div_ceil(2) * 2 },
            _ => wanted,
        }
    }

    /// The input rows for `written` output rows, of an input with `height` rows. `None` where they lie outside it altogether.
    pub(super) fn read(&self, written: Rows, height: u64) -> Option<Rows> {
        let rows = match self {
            Rule::Same if height == 1 => Rows { start: 0, end: 1 },
            Rule::Same => written,
            Rule::Window(window) => window.rows(written, height)?,
            Rule::Slice { start, step } => {
                Rows { start: start + written.start * step, end: start + (written.end - 1) * step + 1 }
            }
            Rule::Double => Rows { start: written.start / 2, end: written.end / 2 },
        };
        (rows.start < rows.end && rows.end <= height).then_some(rows)
    }
}

/// A node that can be computed in bands.
#[derive(Clone, Debug)]
pub(super) struct BandedNode {
    pub(super) node: NodeId,
    pub(super) rule: Rule,
    /// The inputs that have rows; the others are constant.
    pub(super) data: Vec<usize>,
}

impl BandedNode {
    /// Reads `node`, where `constants` are the values that do not depend on the network's input.
    pub(super) fn read(graph: &Graph, node: NodeId, constants: &HashSet<ValueId>) -> Option<Self> {
        if !graph.domain(node).is_empty() || !graph.captures(node).is_empty() {
            return None;
        }
        let inputs = graph.inputs(node).iter().enumerate();
        let data: Vec<usize> =
            inputs.filter_map(|(slot, value)| value.filter(|value| !constants.contains(value)).map(|_| slot)).collect();
        let height = image_shape(graph, graph.output(node, 0)?)?[2];
        let heights: Vec<u64> =
            data.iter().map(|&slot| Some(image_shape(graph, graph.input(node, slot)?)?[2])).collect::<Option<_>>()?;
        let outputs_agree = graph
            .outputs(node)
            .iter()
            .flatten()
            .all(|&output| image_shape(graph, output).is_some_and(|shape| shape[2] == height));
        let rule = outputs_agree.then(|| rule(graph, node, &data, height))??;
        let rows_agree = !matches!(rule, Rule::Same) || heights.iter().all(|&rows| rows == height || rows == 1);
        (rows_agree && !data.is_empty()).then_some(Self { node, rule, data })
    }
}

fn rule(graph: &Graph, node: NodeId, data: &[usize], height: u64) -> Option<Rule> {
    let first_only = data == [0];
    let one_output = graph.outputs(node).len() == 1;
    match graph.op_type(node) {
        op if ELEMENTWISE.contains(&op) => constants_have_no_rows(graph, node, data).then_some(Rule::Same),
        "BatchNormalization" => (first_only && one_output).then_some(Rule::Same),
        "Concat" => is_channels(graph.attribute_int(node, "axis")).then_some(Rule::Same),
        "Split" => (first_only && is_channels(graph.attribute_int(node, "axis"))).then_some(Rule::Same),
        "QuantizeLinear" | "DequantizeLinear" => (first_only && scale_has_no_rows(graph, node)).then_some(Rule::Same),
        "Conv" | "MaxPool" | "AveragePool" => {
            (first_only && one_output).then(|| Window::read(graph, node).map(Rule::Window)).flatten()
        }
        "Slice" if first_only => sliced_rows(graph, node, height),
        "Resize" if first_only => doubles(graph, node).then_some(Rule::Double),
        _ => None,
    }
}

fn is_channels(axis: Option<i64>) -> bool {
    matches!(axis, Some(1 | -3))
}

/// Whether the node's constants are the same for every row.
fn constants_have_no_rows(graph: &Graph, node: NodeId, data: &[usize]) -> bool {
    let constants = graph.inputs(node).iter().enumerate().filter(|(slot, _)| !data.contains(slot));
    constants.filter_map(|(_, value)| *value).all(|value| {
        let shape = graph.value(value).ty.as_ref().and_then(|ty| ty.tensor()?.fixed_shape());
        shape.is_some_and(|shape| shape.len() < 2 || shape[shape.len() - 2] == 1)
    })
}

fn scale_has_no_rows(graph: &Graph, node: NodeId) -> bool {
    let scale = graph.input(node, 1).and_then(|scale| graph.constant(scale));
    let blocks = graph.attribute_int(node, "block_size").unwrap_or(0) != 0;
    let along_rows = matches!(graph.attribute_int(node, "axis").unwrap_or(1), 2 | -2);
    scale.is_some_and(|scale| scale.len() == 1 || (scale.shape.len() == 1 && !along_rows)) && !blocks
}

/// The constant numbers in an input of a Slice.
pub(super) fn slice_numbers(graph: &Graph, node: NodeId, slot: usize) -> Option<Vec<i64>> {
    graph.constant(graph.input(node, slot)?).as_ref().map(Tensor::to_vec_i64)?.ok()
}

/// The axes of a Slice, none of them negative.
pub(super) fn slice_axes(graph: &Graph, node: NodeId) -> Option<Vec<i64>> {
    match graph.input(node, 3) {
        Some(_) => {
            let axes = slice_numbers(graph, node, 3)?;
            Some(axes.into_iter().map(|axis| if axis < 0 { axis + 4 } else { axis }).collect())
        }
        None => Some((0..slice_numbers(graph, node, 1)?.len() as i64).collect()),
    }
}

fn sliced_rows(graph: &Graph, node: NodeId, height: u64) -> Option<Rule> {
    let (starts, ends) = (slice_numbers(graph, node, 1)?, slice_numbers(graph, node, 2)?);
    let axes = slice_axes(graph, node)?;
    if starts.len() != axes.len() || ends.len() != axes.len() {
        return None;
    }
    let steps = match graph.input(node, 4) {
        Some(_) => slice_numbers(graph, node, 4).filter(|steps| steps.len() == axes.len())?,
        None => vec![1; axes.len()],
    };
    let rows = image_shape(graph, graph.input(node, 0)?)?[2] as i64;
    let Some(place) = axes.iter().position(|&axis| axis == 2) else { return Some(Rule::Same) };
    let start = if starts[place] < 0 { starts[place] + rows } else { starts[place] }.clamp(0, rows);
    let step = steps[place];
    let reaches = step >= 1 && start + (height as i64 - 1) * step < rows;
    reaches.then_some(Rule::Slice { start: start as u64, step: step as u64 })
}

/// Whether a Resize copies each pixel into a block that is two rows high.
fn doubles(graph: &Graph, node: NodeId) -> bool {
    let shapes = graph.input(node, 0).zip(graph.output(node, 0));
    let shapes = shapes.and_then(|(small, large)| Some((image_shape(graph, small)?, image_shape(graph, large)?)));
    let Some((small, large)) = shapes else { return false };
    let text = |name: &str, default: &'static str| graph.attribute_string(node, name).unwrap_or(default).to_owned();
    let place = text("coordinate_transformation_mode", "half_pixel");
    let choice = text("nearest_mode", "round_prefer_floor");
    let repeats = match place.as_str() {
        "asymmetric" => matches!(choice.as_str(), "floor" | "round_prefer_floor"),
        "half_pixel" | "pytorch_half_pixel" => matches!(choice.as_str(), "round_prefer_floor" | "round_prefer_ceil"),
        _ => false,
    };
    let written_by_scale = graph.opset("").is_some_and(|opset| opset >= 11) && graph.attribute(node, "axes").is_none();
    let known = |slot: usize| graph.input(node, slot).is_none_or(|value| graph.constant(value).is_some());
    let exact = large[2] == 2 * small[2] && (large[3] == 2 * small[3] || large[3] == small[3]);
    text("mode", "nearest") == "nearest" && repeats && written_by_scale && known(2) && known(3) && exact && small[2] > 1
}
