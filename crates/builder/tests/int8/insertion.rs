//! How a placement is written into the graph, and that both ways to write weights compute the same.

use crate::networks::{Placed, conv, image, network, output, weights};
use crate::small_model::{SmallModel, count, numbers, run, runtime, typed};
use trtforge_builder::NodePrecision;
use trtforge_builder::int8::Plan;
use trtforge_builder::passes::WeightForm;
use trtforge_graph::{ElementType, Graph, Model, Tensor, construct};

fn written(placed: &Placed, plan: &Plan, weights: WeightForm) -> Model {
    let mut graph = placed.graph.clone();
    plan.apply(&mut graph, weights).unwrap();
    graph.remove_dead();
    graph.into_model().unwrap()
}

/// Operator of the node that makes what a slot of a node reads.
fn source<'a>(graph: &'a Graph, node: &str, slot: usize) -> &'a str {
    let node = graph.node_ids().find(|&id| graph.node_name(id) == node).unwrap();
    graph.producer(graph.input(node, slot).unwrap()).map_or("", |producer| graph.op_type(producer))
}

#[test]
fn readers_share_one_pair_and_others_read_the_tensor_itself() {
    let Some(runtime) = runtime() else { return };
    let model = conv(network(), "x", "c0").op("Relu", &["c0"], "a");
    let model = conv(conv(model, "a", "c1"), "a", "c2").op("Softmax", &["a"], "s");
    let model = output(output(output(output(model, "c1"), "c2"), "s"), "a");
    let placed = Placed::new(typed(&runtime, &model.build()));
    let model = written(&placed, &placed.plan(0.05), WeightForm::Integers);
    assert_eq!((count(&model, "QuantizeLinear"), count(&model, "DequantizeLinear")), (2, 2 + 3));
    let graph = Graph::new(model).unwrap();
    for (node, expected) in [("c1", "DequantizeLinear"), ("c2", "DequantizeLinear"), ("Softmax_s", "Relu")] {
        assert_eq!(source(&graph, node, 0), expected, "{node}");
    }
    let output = graph.value_id("a").unwrap();
    assert_eq!(graph.op_type(graph.producer(output).unwrap()), "Relu", "the output keeps its numbers");
    assert_eq!(graph.value_id("x__int8").map(|value| graph.value(value).consumers.len()), Some(1));
}

#[test]
fn a_plan_without_a_scale_is_refused() {
    let Some(runtime) = runtime() else { return };
    let placed = Placed::new(typed(&runtime, &output(conv(network(), "x", "c1"), "c1").build()));
    for scale in [0.0, f32::NAN, f32::INFINITY, -1.0] {
        let refused = placed.plan(scale).apply(&mut placed.graph.clone(), WeightForm::Integers);
        assert!(matches!(refused, Err(trtforge_builder::Error::NoScale { tensor }) if tensor == "x"), "{scale}");
    }
}

/// A node with weights of every kind, its input, and the axis of its scales.
struct Kind {
    op: &'static str,
    input: &'static [u64],
    weight: &'static [u64],
    output: &'static [u64],
    attribute: Option<(&'static str, i64)>,
    axis: i64,
}

const IMAGE: &[u64] = &[1, 16, 8, 8];
const KINDS: &[Kind] = &[
    Kind { op: "Conv", input: IMAGE, weight: &[24, 16, 1, 1], output: &[1, 24, 8, 8], attribute: None, axis: 0 },
    Kind {
        op: "Conv",
        input: IMAGE,
        weight: &[24, 4, 3, 3],
        output: &[1, 24, 6, 6],
        attribute: Some(("group", 4)),
        axis: 0,
    },
    Kind {
        op: "Conv",
        input: IMAGE,
        weight: &[16, 1, 3, 3],
        output: &[1, 16, 6, 6],
        attribute: Some(("group", 16)),
        axis: 0,
    },
    Kind {
        op: "ConvTranspose",
        input: IMAGE,
        weight: &[16, 24, 2, 2],
        output: &[1, 24, 9, 9],
        attribute: None,
        axis: 1,
    },
    Kind {
        op: "ConvTranspose",
        input: IMAGE,
        weight: &[16, 6, 2, 2],
        output: &[1, 24, 9, 9],
        attribute: Some(("group", 4)),
        axis: 1,
    },
    Kind { op: "Gemm", input: &[4, 32], weight: &[24, 32], output: &[4, 24], attribute: Some(("transB", 1)), axis: 0 },
    Kind { op: "Gemm", input: &[4, 32], weight: &[32, 24], output: &[4, 24], attribute: Some(("transB", 0)), axis: 1 },
    Kind { op: "MatMul", input: &[4, 32], weight: &[32, 24], output: &[4, 24], attribute: None, axis: 1 },
];

impl Kind {
    fn model(&self) -> Model {
        let mut node = construct::node(self.op, "node", ["x", "w"], ["y"]);
        if let Some((name, value)) = self.attribute {
            node = node.attr_int(name, value);
        }
        let model =
            SmallModel::new(19).input("x", self.input).constant("w", self.weight, weights(self.op, self.weight));
        model.node(node).output("y", ElementType::Float32, self.output).build()
    }
}

#[test]
fn weights_have_a_scale_per_output_channel() {
    let Some(runtime) = runtime() else { return };
    for kind in KINDS {
        let model = kind.model();
        let placed = Placed::new(typed(&runtime, &model));
        assert_eq!(placed.row("node").precision, NodePrecision::Int8, "{:?}", placed.row("node"));
        let plan = placed.plan(3.0 / 127.0);
        let quantized = written(&placed, &plan, WeightForm::Integers);
        let graph = Graph::new(quantized.clone()).unwrap();
        let node = graph.node_ids().find(|&id| graph.node_name(id) == "node").unwrap();
        let weight = graph.producer(graph.input(node, 1).unwrap()).unwrap();
        assert_eq!(graph.op_type(weight), "DequantizeLinear");
        assert_eq!(graph.attribute_int(weight, "axis"), Some(kind.axis), "{} {:?}", kind.op, kind.weight);
        let integers = graph.constant(graph.input(weight, 0).unwrap()).unwrap();
        assert_eq!((integers.element, integers.shape.as_slice()), (ElementType::Int8, kind.weight));
        assert!(integers.as_slice::<i8>().unwrap().iter().all(|&value| value != -128));
        let scales = graph.constant(graph.input(weight, 1).unwrap()).unwrap();
        assert_eq!(scales.shape, [kind.weight[kind.axis as usize]]);
        let zeros = graph.constant(graph.input(weight, 2).unwrap()).unwrap();
        assert!(zeros.as_slice::<i8>().unwrap().iter().all(|&zero| zero == 0));
        near(&run_on(&runtime, &model, kind), &run_on(&runtime, &quantized, kind), 0.05);
        let dequantized = written(&placed, &plan, WeightForm::Dequantized);
        assert_eq!(count(&dequantized, "DequantizeLinear"), 1);
        assert_eq!(run_on(&runtime, &dequantized, kind), run_on(&runtime, &quantized, kind), "{}", kind.op);
    }
}

fn run_on(runtime: &trtforge_onnxruntime::OnnxRuntime, model: &Model, kind: &Kind) -> Vec<f32> {
    run(runtime, model, &[("x", &numbers(kind.input))])["y"].to_vec_f32().unwrap()
}

/// Whether the error is a small part of the largest number.
fn near(expected: &[f32], actual: &[f32], part: f32) {
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let error = expected.iter().zip(actual).fold(0f32, |error, (a, b)| error.max((a - b).abs()));
    assert!(error > 0.0 && error < part * largest, "{error} of {largest}");
}

#[test]
fn a_whole_network_computes_the_same_with_integers_and_with_what_they_stand_for() {
    let Some(runtime) = runtime() else { return };
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let model = conv(model, "a", "c2").op("Add", &["c2", "a"], "sum").op("Relu", &["sum"], "r");
    let model = output(conv(model, "r", "y"), "y").build();
    let placed = Placed::new(typed(&runtime, &model));
    let mut plan = placed.plan(0.05);
    plan.corrections.insert(placed.node("c2"), (0..16).map(|channel| channel as f32 / 8.0).collect());
    let of = |form| run(&runtime, &written(&placed, &plan, form), &[("x", &image())])["y"].to_vec_f32().unwrap();
    assert_eq!(of(WeightForm::Integers), of(WeightForm::Dequantized));
}

#[test]
fn corrections_are_added_to_biases() {
    let Some(runtime) = runtime() else { return };
    let model = conv(network(), "x", "with");
    let model = model.constant("w", &[16, 16, 1, 1], weights("w", &[16, 16, 1, 1])).op("Conv", &["x", "w"], "without");
    let model = output(output(model, "with"), "without").build();
    let placed = Placed::new(typed(&runtime, &model));
    let plain = placed.plan(0.05);
    let mut corrected = plain.clone();
    for node in ["with", "Conv_without"] {
        corrected.corrections.insert(placed.node(node), (0..16).map(|channel| channel as f32).collect());
    }
    let of = |plan: &Plan| run(&runtime, &written(&placed, plan, WeightForm::Integers), &[("x", &image())]);
    let (before, after) = (of(&plain), of(&corrected));
    for name in ["with", "without"] {
        let (before, after): (&Tensor, &Tensor) = (&before[name], &after[name]);
        let pairs = before.as_slice::<f32>().unwrap().iter().zip(after.as_slice::<f32>().unwrap());
        for (index, (before, after)) in pairs.enumerate() {
            assert!((after - before - (index / 64) as f32).abs() < 1e-4, "{name} at {index}: {before} {after}");
        }
    }
}
