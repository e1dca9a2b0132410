//! Follows the maps of a generated graph from its input to the heads, by the operators' own rules: the generator's book-keeping is not asked.

use std::collections::HashMap;

use trtforge_graph::proto::{GraphProto, ModelProto, NodeProto, TensorProto};

/// Input channels, output channels, kernel, stride, pad, groups, output height, output width.
pub type Convolution = [usize; 8];

/// A graph with its initializers by name.
pub struct Walk<'a> {
    pub graph: &'a GraphProto,
    initializers: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Walk<'a> {
    pub fn new(model: &'a ModelProto) -> Self {
        let graph = model.graph.as_ref().expect("a graph");
        let initializers = graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
        Self { graph, initializers }
    }

    pub fn dims(&self, name: &str) -> Vec<usize> {
        self.initializers[name].dims.iter().map(|&dim| usize::try_from(dim).expect("a length")).collect()
    }

    /// Every convolution, in order.
    pub fn convolutions(&self) -> Vec<Convolution> {
        let maps = self.maps();
        let convolutions = self.graph.node.iter().filter(|node| node.op_type() == "Conv");
        convolutions.map(|node| self.convolution(node, maps[&node.output[0]])).collect()
    }

    /// Weights and biases of the convolutions.
    pub fn parameters(&self) -> usize {
        let convolutions = self.graph.node.iter().filter(|node| node.op_type() == "Conv");
        let tensors = convolutions.flat_map(|node| &node.input[1..]);
        tensors.map(|name| self.dims(name).iter().product::<usize>()).sum()
    }

    fn convolution(&self, node: &NodeProto, [_, height, width]: [usize; 3]) -> Convolution {
        let kernel = self.dims(&node.input[1]);
        assert_eq!(self.dims(&node.input[2]), [kernel[0]], "{} has a bias per channel", node.name());
        let groups = attribute(node, "group")[0];
        let (stride, pad) = (square(node, "strides"), square(node, "pads"));
        [kernel[1] * groups, kernel[0], square(node, "kernel_shape"), stride, pad, groups, height, width]
    }

    /// Channels, height and width of every value up to the first Reshape.
    fn maps(&self) -> HashMap<String, [usize; 3]> {
        let size = |index: usize| {
            let ty = self.graph.input[0].type_.as_ref().expect("typed");
            usize::try_from(ty.tensor_type().shape.dim[index].dim_value()).expect("a length")
        };
        let mut maps = HashMap::from([(self.graph.input[0].name().to_owned(), [size(1), size(2), size(3)])]);
        for node in &self.graph.node {
            let inputs: Vec<[usize; 3]> = node.input.iter().filter_map(|name| maps.get(name).copied()).collect();
            if let Some(map) = self.output_of(node, &inputs) {
                maps.insert(node.output[0].clone(), map);
            }
        }
        maps
    }

    fn output_of(&self, node: &NodeProto, inputs: &[[usize; 3]]) -> Option<[usize; 3]> {
        let &[channels, height, width] = inputs.first()?;
        let slide =
            |length: usize, kernel: usize| (length + 2 * square(node, "pads") - kernel) / square(node, "strides") + 1;
        Some(match node.op_type() {
            "Conv" => {
                let kernel = self.dims(&node.input[1]);
                assert_eq!(kernel[1] * attribute(node, "group")[0], channels, "{} reads what it is given", node.name());
                [kernel[0], slide(height, kernel[2]), slide(width, kernel[3])]
            }
            "MaxPool" => {
                let kernel = square(node, "kernel_shape");
                [channels, slide(height, kernel), slide(width, kernel)]
            }
            "Slice" => [channels, height / 2, width / 2],
            "Resize" => [channels, 2 * height, 2 * width],
            "Concat" => {
                assert!(inputs.iter().all(|map| map[1..] == inputs[0][1..]), "{} joins maps of one size", node.name());
                [inputs.iter().map(|map| map[0]).sum(), height, width]
            }
            "Add" | "Mul" => {
                assert_eq!(inputs[0], inputs[1], "{} takes maps of one shape", node.name());
                inputs[0]
            }
            "Relu" | "Sigmoid" => inputs[0],
            _ => return None,
        })
    }
}

fn attribute(node: &NodeProto, name: &str) -> Vec<usize> {
    let found = node.attribute.iter().find(|attribute| attribute.name() == name);
    let attribute = found.unwrap_or_else(|| panic!("{} has {name}", node.name()));
    let values = if attribute.ints.is_empty() { vec![attribute.i()] } else { attribute.ints.clone() };
    values.into_iter().map(|value| usize::try_from(value).expect("not negative")).collect()
}

/// The one value of an attribute that is the same in every direction.
fn square(node: &NodeProto, name: &str) -> usize {
    let values = attribute(node, name);
    assert!(values.iter().all(|value| *value == values[0]), "{name} of {} is even", node.name());
    values[0]
}
