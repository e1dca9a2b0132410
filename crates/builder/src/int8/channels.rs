//! How the channels of a tensor meet the weights that read it: what equalisation and bias correction need to know of a convolution.

use trtforge_graph::{Graph, NodeId, Tensor};

/// The weight of a convolution, seen as output channels by input channels by kernel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelMap {
    /// Number of input channels of the tensor that is read.
    pub(crate) inputs: usize,
    /// Number of output channels.
    pub(crate) outputs: usize,
    groups: usize,
    kernel: usize,
    transposed: bool,
}

impl ChannelMap {
    /// Of a Conv or ConvTranspose with this weight; `None` for other operators.
    pub(crate) fn of(graph: &Graph, node: NodeId, weight: &Tensor) -> Option<ChannelMap> {
        let &[first, second, ..] = weight.shape.as_slice() else { return None };
        let groups = usize::try_from(graph.attribute_int(node, "group").unwrap_or(1)).ok()?.max(1);
        let kernel = weight.shape[2..].iter().product::<u64>() as usize;
        let (first, second) = (first as usize, second as usize);
        let transposed = match graph.op_type(node) {
            "Conv" => false,
            "ConvTranspose" => true,
            _ => return None,
        };
        let (inputs, outputs) = if transposed { (first, second * groups) } else { (second * groups, first) };
        (inputs > 0 && outputs % groups == 0 && inputs % groups == 0).then_some(ChannelMap {
            inputs,
            outputs,
            groups,
            kernel,
            transposed,
        })
    }

    /// Whether every output channel reads one input channel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.inputs == self.groups
    }

    /// Visits every weight: its index, its input channel, its output channel.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (ins, outs) = (self.inputs / self.groups, self.outputs / self.groups);
        let mut index = 0;
        let (rows, columns) = if self.transposed { (self.inputs, outs) } else { (self.outputs, ins) };
        for row in 0..rows {
            let group = row / if self.transposed { ins } else { outs };
            for column in 0..columns {
                let (input, output) =
                    if self.transposed { (row, group * outs + column) } else { (group * ins + column, row) };
                for _ in 0..self.kernel {
                    visit(index, input, output);
                    index += 1;
                }
            }
        }
    }
}

/// The weight with each input channel multiplied by its factor.
pub(crate) fn scale_inputs(weight: &Tensor, map: &ChannelMap, factors: &[f32]) -> Option<Tensor> {
    let mut values = weight.to_vec_f32().ok()?;
    if factors.len() != map.inputs {
        return None;
    }
    map.for_each(|index, input, _| values[index] *= factors[input]);
    Tensor::from_vec(weight.shape.clone(), values).ok()
}
