//! The network as ONNX nodes: one node per layer, as the published exporter leaves them (batch normalisation folded, every convolution with a bias).
//!
//! The graph has no Shape operators: every Reshape is written with 0 and -1, so the same nodes serve any batch.

use trtforge_graph::construct::{self, entry, node};
use trtforge_graph::proto::{ModelProto, ValueInfoProto};

use crate::activation::Activation;
use crate::decode;
use crate::head::{CLASSES, INPUT, Level};
use crate::network::{Convolution, Layer, Network, Operation, Shape, Value};
use crate::nodes::{self, Nodes};
use crate::options::{Batch, Options};
use crate::variants::Architecture;
use crate::weights::Weights;

/// Half-precision quantization scales start here; every operator used is the same in the sets around it.
const OPSET: i64 = 19;
/// The format version that belongs to the operator set.
const IR_VERSION: i64 = 9;

/// The complete model. `weights` are those of the convolutions, in layer order.
pub(crate) fn model(
    network: &Network,
    weights: Vec<Weights>,
    levels: &[Level; 3],
    architecture: &Architecture,
    options: &Options,
) -> ModelProto {
    let mut emission = Emission { network, nodes: Nodes::default(), names: value_names(network, levels, options.raw) };
    let mut weights = weights.into_iter();
    for (index, layer) in network.layers().iter().enumerate() {
        emission.layer(index, layer, &mut weights);
    }
    let bins = architecture.head.largest_bin + 1;
    let outputs = if options.raw {
        raw_outputs(&mut emission, levels, options.batch)
    } else {
        decoded_outputs(&mut emission, levels, bins, options.batch)
    };
    let input = nodes::value_info(INPUT, options.batch, &maps_of(network.layers()[0].shape));
    wrap(emission.nodes, input, outputs, options)
}

/// The name of each layer's output: the layer's own, but for the raw distances, which are outputs of the model.
fn value_names(network: &Network, levels: &[Level; 3], raw: bool) -> Vec<String> {
    let mut names: Vec<String> = network.layers().iter().map(|layer| layer.name.clone()).collect();
    if raw {
        for level in levels {
            names[level.distances.index()] = format!("reg{}", level.stride);
        }
    }
    names
}

fn maps_of(shape: Shape) -> [usize; 3] {
    [shape.channels, shape.height, shape.width]
}

/// Nodes written so far and what their outputs are called.
struct Emission<'a> {
    network: &'a Network,
    nodes: Nodes,
    names: Vec<String>,
}

impl Emission<'_> {
    fn name(&self, value: Value) -> &str {
        &self.names[value.index()]
    }

    fn layer(&mut self, index: usize, layer: &Layer, weights: &mut impl Iterator<Item = Weights>) {
        let output = self.names[index].clone();
        let inputs: Vec<String> = layer.inputs.iter().map(|&input| self.name(input).to_owned()).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        match layer.operation {
            Operation::Input => {}
            Operation::SpaceToDepth => self.space_to_depth(layer, inputs[0], &output),
            Operation::Convolution(convolution) => {
                let weights = weights.next().expect("weights for every convolution");
                let channels = self.network.shape(layer.inputs[0]).channels;
                self.convolution(&layer.name, &convolution, channels, weights, inputs[0], &output);
            }
            Operation::Activation(Activation::Relu) => self.nodes.push(node("Relu", &layer.name, inputs, [output])),
            Operation::Activation(Activation::Silu) => self.silu(&layer.name, inputs[0], &output),
            Operation::Add => self.nodes.push(node("Add", &layer.name, inputs, [output])),
            Operation::Concat => self.nodes.concat(&layer.name, &inputs, &output, 1),
            Operation::MaxPool { kernel } => self.max_pool(&layer.name, inputs[0], &output, kernel),
            Operation::Upsample => self.upsample(&layer.name, inputs[0], &output),
        }
    }

    fn convolution(
        &mut self,
        name: &str,
        convolution: &Convolution,
        channels: usize,
        weights: Weights,
        input: &str,
        output: &str,
    ) {
        let Convolution { outputs, kernel, stride, .. } = *convolution;
        let dims = [outputs, channels / convolution.groups(), kernel, kernel];
        let kernel_name = self.nodes.initializer(&format!("{name}.weight"), &dims, weights.kernel);
        let bias_name = self.nodes.initializer(&format!("{name}.bias"), &[outputs], weights.bias);
        let node = node("Conv", name, [input, &kernel_name, &bias_name], [output])
            .attr_ints("dilations", [1, 1])
            .attr_int("group", convolution.groups() as i64)
            .attr_ints("kernel_shape", [kernel as i64; 2])
            .attr_ints("pads", [convolution.pad() as i64; 4])
            .attr_ints("strides", [stride as i64; 2]);
        self.nodes.push(node);
    }

    fn silu(&mut self, name: &str, input: &str, output: &str) {
        let gate = format!("{name}.sigmoid");
        self.nodes.push(node("Sigmoid", &gate, [input], [&gate]));
        self.nodes.push(node("Mul", name, [input, &gate], [output]));
    }

    fn max_pool(&mut self, name: &str, input: &str, output: &str, kernel: usize) {
        let node = node("MaxPool", name, [input], [output])
            .attr_ints("kernel_shape", [kernel as i64; 2])
            .attr_ints("pads", [(kernel / 2) as i64; 4])
            .attr_ints("strides", [1, 1]);
        self.nodes.push(node);
    }

    fn upsample(&mut self, name: &str, input: &str, output: &str) {
        let scales = self.nodes.initializer(&format!("{name}.scales"), &[4], vec![1.0_f32, 1.0, 2.0, 2.0]);
        let node = node("Resize", name, [input, "", &scales], [output])
            .attr_string("coordinate_transformation_mode", "asymmetric")
            .attr_string("mode", "nearest")
            .attr_string("nearest_mode", "floor");
        self.nodes.push(node);
    }

    fn space_to_depth(&mut self, layer: &Layer, input: &str, output: &str) {
        let name = &layer.name;
        let ends = vec![2 * layer.shape.height as i64, 2 * layer.shape.width as i64];
        let ends = self.nodes.initializer(&format!("{name}.ends"), &[2], ends);
        let axes = self.nodes.initializer(&format!("{name}.axes"), &[2], vec![2_i64, 3]);
        let steps = self.nodes.initializer(&format!("{name}.steps"), &[2], vec![2_i64, 2]);
        let parts = [[0, 0], [1, 0], [0, 1], [1, 1]].map(|[row, column]: [i64; 2]| {
            let part = format!("{name}.row{row}column{column}");
            let starts = self.nodes.initializer(&format!("{part}.starts"), &[2], vec![row, column]);
            self.nodes.push(node("Slice", &part, [input, &starts, &ends, &axes, &steps], [&part]));
            part
        });
        self.nodes.concat(name, &parts.each_ref().map(String::as_str), output, 1);
    }
}

/// `cls8, cls16, cls32, reg8, reg16, reg32`: scores after the sigmoid, bins before the softmax.
fn raw_outputs(emission: &mut Emission<'_>, levels: &[Level; 3], batch: Batch) -> Vec<ValueInfoProto> {
    let mut outputs = Vec::with_capacity(6);
    for level in levels {
        let logits = emission.name(level.classes).to_owned();
        let map = format!("cls{}", level.stride);
        emission.nodes.push(node("Sigmoid", &format!("{logits}.sigmoid"), [&logits], [&map]));
        outputs.push(nodes::value_info(&map, batch, &maps_of(emission.network.shape(level.classes))));
    }
    for level in levels {
        let shape = emission.network.shape(level.distances);
        outputs.push(nodes::value_info(emission.name(level.distances), batch, &maps_of(shape)));
    }
    outputs
}

/// `scores` and `boxes`.
fn decoded_outputs(emission: &mut Emission<'_>, levels: &[Level; 3], bins: usize, batch: Batch) -> Vec<ValueInfoProto> {
    let maps = levels.map(|level| {
        let Shape { height, width, .. } = emission.network.shape(level.classes);
        decode::Maps {
            classes: emission.name(level.classes).to_owned(),
            distances: emission.name(level.distances).to_owned(),
            stride: level.stride,
            height,
            width,
        }
    });
    let positions = decode::append(&mut emission.nodes, &maps, bins);
    vec![
        nodes::value_info(decode::SCORES, batch, &[positions, CLASSES]),
        nodes::value_info(decode::BOXES, batch, &[positions, 4]),
    ]
}

fn wrap(nodes: Nodes, input: ValueInfoProto, outputs: Vec<ValueInfoProto>, options: &Options) -> ModelProto {
    let mut graph = nodes.into_graph(options.variant.name());
    graph.input = vec![input];
    graph.output = outputs;
    ModelProto {
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: Some("Random weights: for memory and latency, not for detection.".to_owned()),
        metadata_props: vec![
            entry("zoo.variant", options.variant.name()),
            entry("zoo.seed", &options.seed.to_string()),
        ],
        ..construct::model(graph, IR_VERSION, OPSET)
    }
}
