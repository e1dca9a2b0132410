//! Convolutions and pools: windows that slide over rows.

use super::super::image_shape;
use super::rows::Rows;
use trtforge_graph::{Graph, NodeId};

/// A window along rows, with the padding of all four sides.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Rows that it spans, dilation included.
    span: u64,
    stride: u64,
    /// Top, left, bottom, right.
    pads: [u64; 4],
    /// Padding of a side must be less: the span, and of pools the kernel.
    padding_limit: u64,
}

impl Window {
    /// The window of a convolution or pool; `None` for what cannot be computed in bands: padded averages, which count pixels, and pads that are no numbers.
    pub(super) fn read(graph: &Graph, node: NodeId) -> Option<Self> {
        let (span, strides) = span_and_strides(graph, node)?;
        let pads = pads(graph, node, span, strides)?;
        let averages = graph.op_type(node) == "AveragePool";
        let counts_pads = pads != [0; 4] || graph.attribute_int(node, "ceil_mode").unwrap_or(0) != 0;
        if averages && counts_pads {
            return None;
        }
        let padding_limit = if graph.op_type(node) == "Conv" { span[0] } else { kernel(graph, node)?[0] };
        Some(Self { span: span[0], stride: strides[0], pads, padding_limit })
    }

    /// First and one past the last input row under the windows of `written`, padding rows included.
    fn reach(&self, written: Rows) -> (i128, i128) {
        let top = i128::from(self.pads[0]);
        let first = i128::from(written.start) * i128::from(self.stride) - top;
        let last = i128::from(written.end - 1) * i128::from(self.stride) - top + i128::from(self.span);
        (first, last)
    }

    /// The input rows that `written` output rows look at; `None` where one of them looks at padding alone.
    pub(super) fn rows(&self, written: Rows, height: u64) -> Option<Rows> {
        let (first, last) = self.reach(written);
        let outside = (-first).max(last - i128::from(height));
        if outside >= i128::from(self.padding_limit) {
            return None;
        }
        let (start, end) = (u64::try_from(first.max(0)).ok()?, u64::try_from(last.min(i128::from(height))).ok()?);
        (start < end).then_some(Rows { start, end })
    }

    /// The padding with which exactly `written` rows come out: what lies outside the image above and below, and the original's at the sides.
    pub(super) fn pads_for(&self, written: Rows, height: u64) -> Vec<i64> {
        let (first, last) = self.reach(written);
        let outside = |rows: i128| i64::try_from(rows.max(0)).unwrap_or(i64::MAX);
        let (above, below) = (outside(-first), outside(last - i128::from(height)));
        vec![above, self.pads[1] as i64, below, self.pads[3] as i64]
    }
}

fn positive_pair(values: &[i64]) -> Option<[u64; 2]> {
    let &[rows, columns] = values else { return None };
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| (1..=1 << 20).contains(value));
    Some([positive(rows)?, positive(columns)?])
}

/// Rows and columns that a window spans, dilation included, and by how many it moves.
pub(super) fn span_and_strides(graph: &Graph, node: NodeId) -> Option<([u64; 2], [u64; 2])> {
    let kernel = kernel(graph, node)?;
    let pair = |name: &str| match graph.attribute_ints(node, name) {
        None => Some([1, 1]),
        Some(values) => positive_pair(values),
    };
    let (strides, dilations) = (pair("strides")?, pair("dilations")?);
    Some(([0, 1].map(|axis| (kernel[axis] - 1) * dilations[axis] + 1), strides))
}

fn kernel(graph: &Graph, node: NodeId) -> Option<[u64; 2]> {
    match graph.attribute_ints(node, "kernel_shape") {
        Some(values) => positive_pair(values),
        None => {
            let weight = image_shape(graph, graph.input(node, 1)?)?;
            Some([weight[2], weight[3]])
        }
    }
}

fn pads(graph: &Graph, node: NodeId, span: [u64; 2], strides: [u64; 2]) -> Option<[u64; 4]> {
    let input = image_shape(graph, graph.input(node, 0)?)?;
    match graph.attribute_string(node, "auto_pad").unwrap_or("NOTSET") {
        "NOTSET" => given_pads(graph, node),
        "VALID" => Some([0; 4]),
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            let total = [0, 1].map(|axis| {
                let size = input[2 + axis];
                ((size.div_ceil(strides[axis]) - 1) * strides[axis] + span[axis]).saturating_sub(size)
            });
            let small = total.map(|total| total / 2);
            let large = [total[0] - small[0], total[1] - small[1]];
            let (begin, end) = if same == "SAME_UPPER" { (small, large) } else { (large, small) };
            Some([begin[0], begin[1], end[0], end[1]])
        }
        _ => None,
    }
}

fn given_pads(graph: &Graph, node: NodeId) -> Option<[u64; 4]> {
    let Some(values) = graph.attribute_ints(node, "pads") else { return Some([0; 4]) };
    let values: Vec<u64> = values.iter().map(|&value| u64::try_from(value).ok()).collect::<Option<_>>()?;
    <[u64; 4]>::try_from(values).ok()
}
