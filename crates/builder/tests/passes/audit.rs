//! What the audit says of small networks whose figures are known by hand.

use crate::quantized::{ZeroPoint, int8_weights, pair, weights};
use crate::small_model::{SmallModel, runtime, typed};
use half::f16;
use trtforge_builder::{Arithmetic, Audit, audit};
use trtforge_graph::{ElementType, Model, construct};

const ZERO: ZeroPoint = ZeroPoint::Signed(0);

fn audited(model: &Model) -> Option<Audit> {
    Some(audit(&typed(&runtime()?, model)))
}

fn conv(inputs: &[&str], output: &str) -> trtforge_graph::proto::NodeProto {
    construct::node("Conv", output, inputs.iter().copied(), [output]).attr_ints("pads", [1, 1, 1, 1])
}

/// One convolution in INT8 behind a pair, a depthwise one in 32 bits, a transposed one in 32 bits.
fn three_convolutions() -> Model {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 2, 16, 16]);
    let model = pair(model, "x", "xq", 0.02, ZERO);
    int8_weights(model, "w", &[8, 4, 3, 3], 0)
        .node(conv(&["xq", "w"], "a"))
        .constant("d", &[8, 1, 3, 3], weights(&[8, 1, 3, 3]))
        .node(conv(&["a", "d"], "b").attr_int("group", 8))
        .constant("t", &[8, 2, 2, 2], weights(&[8, 2, 2, 2]))
        .node(construct::node("ConvTranspose", "y", ["b", "t"], ["y"]).attr_ints("strides", [2, 2]))
        .build()
}

#[test]
fn shares_are_counted_by_nodes_arithmetic_and_weights() {
    let Some(audit) = audited(&three_convolutions()) else { return };
    let int8 = audit.share(Arithmetic::Int8).unwrap();
    assert_eq!((int8.nodes, int8.flop, int8.weights), (1, 2 * 8 * 64 * 36, 288));
    let float = audit.share(Arithmetic::Fp32).unwrap();
    assert_eq!((float.nodes, float.weights), (2, 72 + 64));
    assert_eq!(float.flop, 2 * (8 * 64 * 9 + 8 * 64 * 8));
    assert!((int8.flop_fraction + float.flop_fraction - 1.0).abs() < 1e-12);
    assert_eq!((audit.quantize_nodes, audit.dequantize_nodes, audit.unknown_flop), (1, 2, 0));
    assert_eq!(audit.unfused, []);
    assert!(audit.share(Arithmetic::Other).is_none());
}

#[test]
fn half_precision_is_told_by_the_type_of_the_data() {
    let half = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect::<Vec<_>>();
    let model = SmallModel::new(17)
        .input("x", &[1, 4])
        .node(construct::node("Cast", "in", ["x"], ["h"]).attr_int("to", 10))
        .tensor(construct::tensor("w", [4, 3], half(weights(&[4, 3]))))
        .op("MatMul", &["h", "w"], "y")
        .output("y", ElementType::Float16, &[1, 3])
        .build();
    let Some(audit) = audited(&model) else { return };
    let share = audit.share(Arithmetic::Fp16).unwrap();
    assert_eq!((share.nodes, share.flop, share.weights), (1, 24, 12));
}

#[test]
fn unsigned_or_half_quantized_convolutions_run_in_floating_point_and_say_why() {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 4, 8, 8]);
    let model = pair(model, "x", "xq", 0.02, ZeroPoint::Unsigned(128));
    let model = int8_weights(model, "w", &[8, 4, 3, 3], 0).node(conv(&["xq", "w"], "a"));
    let model = pair(model, "a", "aq", 0.05, ZERO);
    let model = model.constant("v", &[4, 8, 3, 3], weights(&[4, 8, 3, 3])).node(conv(&["aq", "v"], "y")).build();
    let Some(audit) = audited(&model) else { return };
    let reasons: Vec<_> = audit.convolutions.iter().map(|node| node.reason.clone().unwrap()).collect();
    assert_eq!(reasons, ["its input is asymmetric uint8 and not symmetric int8", "its weights are not quantized"]);
    assert_eq!(audit.share(Arithmetic::Fp32).unwrap().nodes, 2);
    let unfused: Vec<_> = audit.unfused.iter().map(|pair| pair.tensor.as_str()).collect();
    assert_eq!(unfused, ["x", "w.int8", "a"]);
}

/// `conv -> relu -> add <- pair`: what the pair on the branch feeds.
fn residual(second: &str) -> Model {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 4, 8, 8]);
    let model = pair(model, "x", "xq", 0.02, ZERO);
    int8_weights(model, "w", &[4, 4, 3, 3], 0)
        .node(conv(&["xq", "w"], "c"))
        .op("Relu", &["c"], "r")
        .op("Sin", &["x"], "s")
        .op("Add", &[second, "xq"], "y")
        .build()
}

#[test]
fn an_addition_fuses_behind_a_convolution_and_nowhere_else() {
    let Some(fused) = audited(&residual("r")) else { return };
    assert_eq!(fused.unfused, []);
    let model = SmallModel::new(13).input("x", &[1, 4]).output("y", ElementType::Float32, &[1, 4]);
    let alone = pair(model, "x", "xq", 0.02, ZERO).op("Sin", &["x"], "s").op("Add", &["s", "xq"], "y").build();
    let unfused = audited(&alone).unwrap().unfused;
    assert_eq!(unfused.len(), 1);
    assert!(unfused[0].reason.starts_with("Add `Add_y` has other inputs"), "{unfused:?}");
}

#[test]
fn one_reader_in_int8_is_enough() {
    let Some(audit) = audited(&residual("s")) else { return };
    assert_eq!(audit.unfused, [], "the convolution reads the same pair");
}

/// A pair in front of `operator`, and a second pair behind it where `quantized`.
fn around(operator: &str, shape: &[u64], out: &[u64], quantized: bool) -> Model {
    let node = construct::node(operator, operator, ["xq"], ["p"]);
    let node = if operator.ends_with("Pool") && !operator.starts_with("Global") {
        node.attr_ints("kernel_shape", [2, 2]).attr_ints("strides", [2, 2])
    } else {
        node
    };
    let model = SmallModel::new(13).input("x", shape).output("y", ElementType::Float32, out);
    let model = pair(model, "x", "xq", 0.02, ZERO).node(node);
    if quantized { pair(model, "p", "pq", 0.02, ZERO).op("Relu", &["pq"], "y") } else { model.op("Relu", &["p"], "y") }
        .build()
}

#[test]
fn poolings() {
    let names = |model: &Model| -> Option<Vec<String>> {
        Some(audited(model)?.unfused.into_iter().map(|pair| pair.tensor).collect())
    };
    let (shape, out) = ([1, 4, 8, 8], [1, 4, 4, 4]);
    let Some(max) = names(&around("MaxPool", &shape, &out, false)) else { return };
    assert_eq!(max, [""; 0], "maximum pooling commutes with quantization");
    assert_eq!(names(&around("AveragePool", &shape, &out, false)).unwrap(), ["x"]);
    assert_eq!(names(&around("AveragePool", &shape, &out, true)).unwrap(), ["p"], "Relu reads the second pair");
    assert_eq!(names(&around("Sigmoid", &shape, &shape, true)).unwrap(), ["x", "p"]);
}

#[test]
fn open_shapes_leave_the_arithmetic_unknown() {
    let mut model = three_convolutions();
    let graph = model.proto_mut().graph.as_mut().unwrap();
    let open = ["N", "C", "H", "W"].map(|name| trtforge_graph::Dimension::Symbol(name.into()));
    graph.input[0] = construct::open_tensor_value("x", ElementType::Float32, open.to_vec());
    graph.output[0] = construct::open_tensor_value("y", ElementType::Float32, open.to_vec());
    let Some(audit) = audited(&model) else { return };
    assert_eq!(audit.unknown_flop, 3);
    assert_eq!(audit.share(Arithmetic::Int8).unwrap().weights, 288);
}

#[test]
fn operators_on_quantized_tensors_are_of_another_kind() {
    let model = SmallModel::new(13)
        .input("x", &[1, 4])
        .output("y", ElementType::Int32, &[1, 3])
        .node(construct::node("DynamicQuantizeLinear", "q", ["x"], ["xq", "s", "z"]))
        .tensor(construct::tensor("w", [4, 3], vec![1u8; 12]))
        .op("MatMulInteger", &["xq", "w", "z"], "y")
        .build();
    let Some(audit) = audited(&model) else { return };
    assert_eq!(audit.share(Arithmetic::Other).unwrap().nodes, 1);
}
