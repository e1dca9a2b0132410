//! A convolution that mixes the channels of each pixel and looks at no other pixel: what two rewrites look for.

use trtforge_graph::construct::node;
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{ElementType, Graph, NodeId, ValueId};

/// A 1x1 convolution with stride 1, one group, constant weights and a constant bias or none, over images in 32 bits.
pub(super) struct PointwiseConvolution {
    pub(super) node: NodeId,
    pub(super) output: ValueId,
    /// `[outputs][inputs]`, row-major.
    pub(super) weight: Vec<f32>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) bias: Option<Vec<f32>>,
}

impl PointwiseConvolution {
    /// Reads `node` as one, if it is one.
    pub(super) fn read(graph: &Graph, node: NodeId) -> Option<Self> {
        let plain = graph.op_type(node) == "Conv" && graph.domain(node).is_empty();
        if !plain || !is_pointwise(graph, node) {
            return None;
        }
        let weight = graph.constant(graph.input(node, 1)?).filter(|weight| weight.element == ElementType::Float32)?;
        let &[outputs, inputs, 1, 1] = weight.shape.as_slice() else { return None };
        if outputs == 0 || inputs == 0 {
            return None;
        }
        let bias = match graph.input(node, 2) {
            Some(bias) => Some(constant_floats(graph, bias).filter(|bias| bias.len() as u64 == outputs)?),
            None => None,
        };
        let weight = weight.to_vec_f32().ok()?;
        let output = graph.output(node, 0)?;
        Some(Self { node, output, weight, outputs: outputs as usize, inputs: inputs as usize, bias })
    }

    /// The weights of inputs `first..first + count`, for every output.
    pub(super) fn columns(&self, first: usize, count: usize) -> Vec<f32> {
        self.weight.chunks_exact(self.inputs).flat_map(|row| &row[first..first + count]).copied().collect()
    }
}

/// A node that is such a convolution.
pub(super) fn pointwise_node(name: &str, input: &str, weight: &str, bias: Option<&str>, output: &str) -> NodeProto {
    node("Conv", name, [input, weight].into_iter().chain(bias), [output])
        .attr_ints("dilations", vec![1, 1])
        .attr_int("group", 1)
        .attr_ints("kernel_shape", vec![1, 1])
        .attr_ints("pads", vec![0; 4])
        .attr_ints("strides", vec![1, 1])
}

fn is_pointwise(graph: &Graph, node: NodeId) -> bool {
    let all = |name: &str, wanted: i64| {
        graph.attribute_ints(node, name).is_none_or(|values| values.iter().all(|&value| value == wanted))
    };
    graph.attribute_int(node, "group").unwrap_or(1) == 1 && all("strides", 1) && all("pads", 0)
}

fn constant_floats(graph: &Graph, value: ValueId) -> Option<Vec<f32>> {
    let tensor = graph.constant(value).filter(|tensor| tensor.element == ElementType::Float32)?;
    tensor.to_vec_f32().ok()
}
