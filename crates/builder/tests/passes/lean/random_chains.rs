//! Random networks of convolutions, pools, residual sums and slices: banded and not, the numbers must be the same.

use super::{checked, difference, image};
use crate::small_model::{SmallModel, numbers, runtime};
use proptest::prelude::*;
use trtforge_builder::passes::lean::{BandRows, Reach, Segment};
use trtforge_graph::{ElementType, Model, TensorType, construct};

const CHANNELS: u64 = 4;

#[derive(Clone, Debug)]
enum Layer {
    Convolution { kernel: u64, stride: i64, pads: [i64; 4], dilation: i64 },
    Pool { kernel: i64, stride: i64, pad: i64, ceil: bool },
    SamePadding { kernel: u64, stride: i64, upper: bool },
    Residual,
    Focus,
    Enlarge,
    SplitAndJoin,
    Quantize,
}

fn layer() -> impl Strategy<Value = Layer> {
    prop_oneof![
        4 => (0u64..3, 1i64..3, prop::array::uniform4(0i64..3), 1i64..3).prop_map(|(k, stride, pads, dilation)| {
            let kernel = 2 * k + 1;
            Layer::Convolution { kernel, stride, pads: pads.map(|pad| pad.min(kernel as i64 - 1)), dilation }
        }),
        2 => (2i64..4, 1i64..3, 0i64..2, any::<bool>()).prop_map(|(kernel, stride, pad, ceil)| Layer::Pool { kernel, stride, pad, ceil }),
        1 => (1u64..5, 1i64..3, any::<bool>()).prop_map(|(kernel, stride, upper)| Layer::SamePadding { kernel, stride, upper }),
        3 => Just(Layer::Residual),
        1 => Just(Layer::Focus),
        1 => Just(Layer::Enlarge),
        1 => Just(Layer::SplitAndJoin),
        1 => Just(Layer::Quantize),
    ]
}

impl Layer {
    /// The size of an image behind the layer, or `None` where a window is larger than the image.
    fn size(&self, size: [i64; 2]) -> Option<[i64; 2]> {
        let each = |pads: [i64; 2], span: i64, stride: i64| {
            let fits = [0, 1].iter().all(|&axis| size[axis] + pads[axis] >= span);
            fits.then(|| [0, 1].map(|axis| (size[axis] + pads[axis] - span) / stride + 1))
        };
        match self {
            Layer::Convolution { kernel, stride, pads, dilation } => {
                each([pads[0] + pads[2], pads[1] + pads[3]], (*kernel as i64 - 1) * dilation + 1, *stride)
            }
            Layer::Pool { kernel, stride, pad, .. } => each([2 * pad; 2], *kernel, *stride),
            Layer::SamePadding { stride, .. } => Some(size.map(|size| (size + stride - 1) / stride)),
            Layer::Focus => each([0; 2], 2, 2).map(|[rows, _]| [rows, size[1]]),
            Layer::Enlarge => Some(size.map(|size| 2 * size)),
            Layer::Residual | Layer::SplitAndJoin | Layer::Quantize => Some(size),
        }
    }
}

struct Chain {
    model: SmallModel,
    last: String,
    next: usize,
}

impl Chain {
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("v{}", self.next)
    }

    fn weight(&mut self, inputs: u64, kernel: u64) -> String {
        let name = self.fresh();
        let shape = [CHANNELS, inputs, kernel, kernel];
        let scale = 0.5 / (inputs * kernel * kernel) as f32;
        let values = numbers(&shape).to_vec_f32().unwrap().into_iter().map(|x| x * scale + 0.01).collect();
        let model = std::mem::replace(&mut self.model, SmallModel::new(17));
        self.model = model.constant(&name, &shape, values);
        name
    }

    fn node(&mut self, node: trtforge_graph::proto::NodeProto) {
        let model = std::mem::replace(&mut self.model, SmallModel::new(17));
        self.model = model.node(node);
    }

    fn convolve(
        &mut self,
        kernel: u64,
        attributes: impl Fn(trtforge_graph::proto::NodeProto) -> trtforge_graph::proto::NodeProto,
    ) {
        let (weight, output, input) = (self.weight(CHANNELS, kernel), self.fresh(), self.last.clone());
        self.node(attributes(construct::node("Conv", &output, [input.as_str(), &weight], [&output])));
        self.last = output;
    }

    fn apply(&mut self, op: &str, extra: &[&str]) {
        let (input, output) = (self.last.clone(), self.fresh());
        let inputs = std::iter::once(input.as_str()).chain(extra.iter().copied());
        self.node(construct::node(op, &output, inputs, [&output]));
        self.last = output;
    }

    fn push(&mut self, layer: &Layer) {
        match layer {
            Layer::Convolution { kernel, stride, pads, dilation } => self.convolve(*kernel, |node| {
                node.attr_ints("strides", vec![*stride; 2])
                    .attr_ints("pads", pads.to_vec())
                    .attr_ints("dilations", vec![*dilation; 2])
            }),
            Layer::SamePadding { kernel, stride, upper } => self.convolve(*kernel, |node| {
                node.attr_ints("strides", vec![*stride; 2])
                    .attr_string("auto_pad", if *upper { "SAME_UPPER" } else { "SAME_LOWER" })
            }),
            Layer::Pool { kernel, stride, pad, ceil } => {
                let (input, output) = (self.last.clone(), self.fresh());
                let pool = construct::node("MaxPool", &output, [&input], [&output]);
                self.node(
                    pool.attr_ints("kernel_shape", vec![*kernel; 2])
                        .attr_ints("strides", vec![*stride; 2])
                        .attr_ints("pads", vec![*pad; 4])
                        .attr_int("ceil_mode", i64::from(*ceil)),
                );
                self.last = output;
            }
            Layer::Residual => {
                let before = self.last.clone();
                self.convolve(3, |node| node.attr_ints("pads", vec![1; 4]));
                self.apply("Relu", &[]);
                self.apply("Add", &[&before]);
            }
            Layer::Focus => self.focus(),
            Layer::Enlarge => {
                let (input, output) = (self.last.clone(), self.fresh());
                self.node(construct::node("Resize", &output, [&input, "", "factors"], [&output]));
                self.last = output;
            }
            Layer::SplitAndJoin => {
                let (input, a, b, output) = (self.last.clone(), self.fresh(), self.fresh(), self.fresh());
                self.node(construct::node("Split", &a, [input.as_str(), "halves"], [&a, &b]).attr_int("axis", 1));
                self.node(construct::node("Concat", &output, [&b, &a], [&output]).attr_int("axis", 1));
                self.last = output;
            }
            Layer::Quantize => {
                self.apply("QuantizeLinear", &["scale", "zero"]);
                self.apply("DequantizeLinear", &["scale", "zero"]);
            }
        }
    }

    /// Every second row from 0 and from 1, joined over channels and mixed back to as many; of an odd number of rows the last is left out.
    fn focus(&mut self) {
        let (input, even, odd, joined) = (self.last.clone(), self.fresh(), self.fresh(), self.fresh());
        self.node(construct::node(
            "Slice",
            &even,
            [input.as_str(), "from_0", "to_before_last", "rows", "by_2"],
            [&even],
        ));
        self.node(construct::node("Slice", &odd, [input.as_str(), "from_1", "to_end", "rows", "by_2"], [&odd]));
        self.node(construct::node("Concat", &joined, [&even, &odd], [&joined]).attr_int("axis", 1));
        let (weight, output) = (self.weight(2 * CHANNELS, 1), self.fresh());
        self.node(construct::node("Conv", &output, [joined.as_str(), &weight], [&output]));
        self.last = output;
    }
}

fn chain(layers: &[Layer], height: u64, width: u64) -> Model {
    let ints = |name: &str, values: Vec<i64>| construct::tensor(name, [values.len() as u64], values);
    let model = SmallModel::new(17)
        .input("x", &[1, CHANNELS, height, width])
        .tensor(construct::tensor("factors", [4], vec![1f32, 1.0, 2.0, 2.0]))
        .tensor(construct::scalar("scale", 0.02f32))
        .tensor(construct::scalar("zero", 0i8))
        .tensor(ints("halves", vec![1, CHANNELS as i64 - 1]))
        .tensor(ints("from_0", vec![0]))
        .tensor(ints("from_1", vec![1]))
        .tensor(ints("to_before_last", vec![-1]))
        .tensor(ints("to_end", vec![i64::MAX]))
        .tensor(ints("rows", vec![-2]))
        .tensor(ints("by_2", vec![2]));
    let mut chain = Chain { model, last: "x".into(), next: 0 };
    let mut size = [height as i64, width as i64];
    for layer in layers {
        if let Some(next) = layer.size(size).filter(|next| next.iter().all(|&side| side >= 2)) {
            chain.push(layer);
            size = next;
        }
    }
    chain.apply("Relu", &[]);
    let last = chain.last.clone();
    let mut model = chain.model.build();
    let graph = model.proto_mut().graph.as_mut().unwrap();
    let open = TensorType { element: ElementType::Float32, shape: None };
    graph.output.push(construct::value_info(&last, &open.into()));
    model
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn bands_change_no_number(layers in prop::collection::vec(layer(), 1..6), height in 12u64..40, width in 12u64..16, bands in 2u64..9) {
        let Some(runtime) = runtime() else { return Ok(()) };
        let model = chain(&layers, height, width);
        let types = runtime.infer_types(&model).expect("the chain is valid");
        let mut graph = trtforge_graph::Graph::new(model.clone()).unwrap();
        graph.set_types(types);
        let end = graph.graph_outputs()[0];
        let shape = |value| graph.value(value).ty.as_ref().and_then(|ty| ty.tensor()?.fixed_shape());
        prop_assume!(shape(end).is_some_and(|shape| shape[2] >= bands));
        let rounds_up = layers.iter().any(|layer| matches!(layer, Layer::Pool { pad: 1.., ceil: true, .. }));
        let segment = Segment::behind(&graph, end, Reach::Whole);
        // Shapes behind a padded pool that rounds up may be in doubt; every other layer can be cut.
        prop_assume!(segment.is_some() || !rounds_up);
        let segment = segment.expect("every layer can be cut");
        // A row of windows that see padding alone is refused.
        prop_assume!((BandRows { segment: &segment, bands }).apply(&mut graph).unwrap());
        let after = checked(&runtime, &graph);
        let x = image(CHANNELS, height, width);
        // A number on the border between two quantization steps may fall to either side.
        let limit = if layers.iter().any(|layer| matches!(layer, Layer::Quantize)) { 0.02 } else { 1e-5 };
        prop_assert!(difference(&runtime, &model, &after, &[("x", &x)]) < limit);
    }
}
