//! Where the policy puts quantization: at the borders of what TensorRT fuses, and nowhere else.

use crate::networks::{Placed, conv, half, network, output, weights};
use crate::small_model::{SmallModel, runtime, typed};
use std::collections::{BTreeSet, HashMap};
use trtforge_builder::int8::{Form, Plan, plan_for_memory};
use trtforge_builder::{NodePrecision, Precision, PrepareOptions};
use trtforge_graph::{ElementType, construct};

fn set(names: &[&'static str]) -> BTreeSet<&'static str> {
    names.iter().copied().collect()
}

/// Places quantization in the network, or nothing where ONNX Runtime is missing.
fn place(model: SmallModel) -> Option<Placed> {
    let runtime = runtime()?;
    let placed = Placed::new(typed(&runtime, &model.build()));
    for row in placed.placement.rows.values() {
        assert!(!row.reason.is_empty(), "{row:?} has no reason");
    }
    Some(placed)
}

/// Two convolutions with `activation`, which makes `a` of `c1`, in between.
fn around(activation: impl Fn(SmallModel) -> SmallModel) -> Option<Placed> {
    let model = activation(conv(network(), "x", "c1"));
    place(output(conv(model, "a", "c2"), "c2"))
}

#[test]
fn activation_functions_stay_in_one_piece() {
    let one = |model: SmallModel, name: &str, value: f32| model.constant(name, &[1], vec![value]);
    let relu = around(|model| model.op("Relu", &["c1"], "a"));
    let leaky = around(|model| model.op("LeakyRelu", &["c1"], "a"));
    let prelu = around(|model| {
        model.constant("slope", &[16, 1, 1], weights("slope", &[16, 1, 1])).op("PRelu", &["c1", "slope"], "a")
    });
    let silu = around(|model| model.op("Sigmoid", &["c1"], "s").op("Mul", &["c1", "s"], "a"));
    let hard_swish = around(|model| model.op("HardSwish", &["c1"], "a"));
    let written_out = around(|model| {
        let model = one(one(one(model, "three", 3.0), "zero", 0.0), "six", 6.0);
        let model = model.op("Add", &["c1", "three"], "p").op("Clip", &["p", "zero", "six"], "q");
        model.op("Mul", &["c1", "q"], "m").op("Div", &["m", "six"], "a")
    });
    for placed in [relu, leaky, prelu, silu, hard_swish, written_out] {
        let Some(placed) = placed else { return };
        assert_eq!(placed.tensors(), set(&["x", "a"]));
        assert_eq!(placed.readers("a"), BTreeSet::from(["c2".to_owned()]));
        assert_eq!(placed.row("c2").precision, NodePrecision::Int8);
    }
}

#[test]
fn a_residual_sum_reads_the_other_branch_in_int8() {
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let model = conv(model, "a", "c2").op("Add", &["c2", "a"], "sum");
    let Some(placed) = place(output(conv(model, "sum", "c3"), "c3")) else { return };
    assert_eq!(placed.tensors(), set(&["x", "a", "sum"]), "the branch of the convolution stays as it is");
    assert_eq!(placed.readers("a"), BTreeSet::from(["c2".to_owned(), "Add_sum".to_owned()]));
    let inputs_only = Placed::with(placed.graph, &[], &HashMap::new(), Form::INPUTS_ONLY);
    assert_eq!(inputs_only.readers("a"), BTreeSet::from(["c2".to_owned()]));
}

#[test]
fn a_sum_of_a_tensor_that_others_read_too_is_not_fused() {
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let model = conv(model, "a", "c2").op("Add", &["c2", "a"], "sum");
    let model = output(conv(model, "sum", "c3"), "c3");
    let Some(placed) = place(output(model, "c2")) else { return };
    assert_eq!(placed.readers("a"), BTreeSet::from(["c2".to_owned()]));
}

/// Two branches joined along the channels, and a convolution behind them that reads 16 of the 32 channels' maps.
fn joined() -> SmallModel {
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let model = conv(model, "x", "c2").op("Relu", &["c2"], "b");
    let model = model.node(construct::node("Concat", "join", ["a", "b"], ["j"]).attr_int("axis", 1));
    let model = model.constant("w", &[16, 32, 1, 1], weights("w", &[16, 32, 1, 1]));
    output(model.op("Conv", &["j", "w"], "y"), "y")
}

#[test]
fn a_concatenation_between_integers_has_one_scale() {
    let Some(placed) = place(joined()) else { return };
    assert_eq!(placed.tensors(), set(&["x", "a", "b", "j"]));
    assert_eq!((placed.group("a"), placed.group("b")), (placed.group("j"), placed.group("j")));
    assert_ne!(placed.group("x"), placed.group("j"));
    assert_eq!(placed.row("join").precision, NodePrecision::Int8);
    assert_eq!(placed.placement.groups().len(), 2);
}

#[test]
fn a_concatenation_with_one_reader_in_floating_point_stays_out() {
    let model = joined().op("Softmax", &["j"], "z").output("z", ElementType::Float32, &[1, 32, 8, 8]);
    let Some(placed) = place(model) else { return };
    assert_eq!(placed.tensors(), set(&["x", "j"]));
    assert_eq!(placed.readers("j"), BTreeSet::from(["Conv_y".to_owned()]));
}

#[test]
fn a_concatenation_that_is_an_output_stays_out() {
    let Some(placed) = place(joined().output("j", ElementType::Float32, &[1, 32, 8, 8])) else { return };
    assert_eq!(placed.tensors(), set(&["x", "j"]));
}

#[test]
fn pools_and_resizes_hand_integers_on() {
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let model = model.node(
        construct::node("MaxPool", "pool", ["a"], ["p"]).attr_ints("kernel_shape", [2, 2]).attr_ints("strides", [2, 2]),
    );
    let model = conv(model, "p", "c2").op("Relu", &["c2"], "b").constant("scales", &[4], vec![1.0, 1.0, 2.0, 2.0]);
    let model =
        model.node(construct::node("Resize", "enlarge", ["b", "", "scales"], ["e"]).attr_string("mode", "nearest"));
    let model = conv(model, "e", "c3").op("Relu", &["c3"], "d");
    let model =
        model.node(construct::node("Resize", "smooth", ["d", "", "scales"], ["s"]).attr_string("mode", "linear"));
    let model = conv(model, "s", "c4").output("c4", ElementType::Float32, &[1, 16, 16, 16]);
    let Some(placed) = place(model) else { return };
    assert_eq!(placed.group("a"), placed.group("p"));
    assert_eq!(placed.group("b"), placed.group("e"));
    assert_ne!(placed.group("a"), placed.group("b"));
    assert_eq!(placed.tensors(), set(&["x", "a", "p", "b", "e", "s"]), "a linear resize computes new numbers");
}

#[test]
fn an_average_pool_has_a_scale_on_each_side() {
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a").op("GlobalAveragePool", &["a"], "p");
    let model = model.constant("w", &[16, 16, 1, 1], weights("w", &[16, 16, 1, 1])).op("Conv", &["p", "w"], "y");
    let Some(placed) = place(model.output("y", ElementType::Float32, &[1, 16, 1, 1])) else { return };
    assert_eq!(placed.tensors(), set(&["x", "a", "p"]));
    assert_ne!(placed.group("a"), placed.group("p"));
}

#[test]
fn what_decodes_a_softmax_stays_in_floating_point() {
    let bins: Vec<f32> = (0..16).map(|bin| bin as f32).collect();
    let model = conv(network(), "x", "c1");
    let model = model.node(construct::node("Softmax", "softmax", ["c1"], ["s"]).attr_int("axis", 1));
    let model = model.node(construct::node("Transpose", "move", ["s"], ["t"]).attr_ints("perm", [0, 1, 3, 2]));
    let model = model.constant("bins", &[1, 16, 1, 1], bins).op("Conv", &["t", "bins"], "y");
    let Some(placed) = place(model.output("y", ElementType::Float32, &[1, 1, 8, 8])) else { return };
    assert_eq!(placed.tensors(), set(&["x"]));
    assert!(placed.row("Conv_y").reason.contains("softmax"), "{:?}", placed.row("Conv_y"));
    assert_ne!(placed.row("Conv_y").precision, NodePrecision::Int8);
}

#[test]
fn constants_and_unknown_weights_are_not_quantized() {
    let model = network().constant("k", &[1, 16, 8, 8], weights("k", &[1, 16, 8, 8]));
    let model = output(conv(model, "k", "c1"), "c1");
    let model = model.input("w", &[16, 16, 1, 1]).op("Conv", &["x", "w"], "y");
    let Some(placed) = place(output(model, "y")) else { return };
    assert!(placed.placement.is_empty(), "{:?}", placed.tensors());
    assert_eq!(placed.row("c1").precision, NodePrecision::Fp32, "it can be computed before anything runs");
    assert_eq!(placed.row("Conv_y").reason, "its weights are not constant");
}

#[test]
fn small_matrices_are_not_worth_it() {
    let matmul = |rows: u64, side: u64| {
        let model = SmallModel::new(19).input("x", &[rows, 64]).constant("w", &[64, side], weights("w", &[64, side]));
        place(model.op("MatMul", &["x", "w"], "y").output("y", ElementType::Float32, &[rows, side]))
    };
    let (Some(narrow), Some(vector), Some(wide)) = (matmul(32, 8), matmul(1, 64), matmul(32, 64)) else { return };
    assert!(narrow.placement.is_empty() && narrow.row("MatMul_y").reason.contains("under 16"));
    assert!(vector.placement.is_empty() && vector.row("MatMul_y").reason.contains("one vector"));
    assert_eq!(wide.tensors(), set(&["x"]));
}

#[test]
fn exceptions_are_kept_and_say_why() {
    let Some(runtime) = runtime() else { return };
    let model = conv(network(), "x", "c1").op("Relu", &["c1"], "a");
    let graph = typed(&runtime, &output(conv(model, "a", "c2"), "c2").build());
    let kept = Placed::with(graph.clone(), &["fp16:^c2$".parse().unwrap()], &HashMap::new(), Form::FULL);
    assert_eq!((kept.tensors(), kept.row("c2").reason.as_str()), (set(&["x"]), "kept by `^c2$`"));
    let excluded = HashMap::from([(graph.value_id("x").unwrap(), "it costs too much".to_owned())]);
    let left = Placed::with(graph, &[], &excluded, Form::FULL);
    assert_eq!((left.tensors(), left.row("c1").reason.as_str()), (set(&["a"]), "it costs too much"));
}

/// A plan for memory has the structure that a calibration leaves: an input that only moves is not calibrated, and every convolution gets a bias.
#[test]
fn a_plan_for_memory_is_built_like_a_calibrated_one() {
    let turn = construct::node("Transpose", "turn", ["x"], ["turned"]).attr_ints("perm", [0, 1, 3, 2]);
    let model = network().node(turn);
    let model = conv(model, "turned", "c1").op("Relu", &["c1"], "a");
    let Some(runtime) = runtime() else { return };
    let graph = typed(&runtime, &output(conv(model, "a", "c2"), "c2").build());
    let options = PrepareOptions::new("network.onnx", Precision::Int8);
    let names = |plan: &Plan| -> Vec<String> {
        plan.placement.tensors.keys().map(|&value| graph.value(value).name.clone()).collect()
    };
    let plan = |cached| plan_for_memory(&graph, &half(&graph), &options, Form::FULL, cached);
    let found = plan(None);
    assert_eq!(names(&found), ["turned", "a"], "`x` is read by the Transpose alone and has no histogram");
    assert_eq!(found.corrections.len(), 2, "both convolutions are corrected");
    let scales: BTreeSet<u32> = found.scales.values().map(|scale| scale.to_bits()).collect();
    assert_eq!(scales.len(), 2, "no two groups share a scale");
    let cached = ["x", "turned"].map(str::to_owned).into();
    assert_eq!(names(&plan(Some(&cached))), ["x", "turned"], "what the cache names, and nothing else");
}
