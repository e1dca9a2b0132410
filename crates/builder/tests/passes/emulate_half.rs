//! The emulation rounds where half precision rounds; ONNX Runtime's own half path does not, which is why the emulation exists.

use crate::small_model::{SmallModel, run, runtime, typed};
use half::f16;
use trtforge_builder::passes::emulate_half;
use trtforge_graph::{ElementType, Model, Tensor, construct};

/// `((x + 2048) - 2048) * 1.25 + 2048 - 2048` in half precision: whole steps of two are all that is left of `x`.
fn stepping_model() -> Model {
    let half = |name: &str, value: f32| construct::scalar(name, f16::from_f32(value));
    SmallModel::new(17)
        .input("x", &[4])
        .tensor(half("c", 2048.0))
        .tensor(half("k", 1.25))
        .node(construct::node("Cast", "in", ["x"], ["a"]).attr_int("to", 10))
        .op("Add", &["a", "c"], "b")
        .op("Sub", &["b", "c"], "d")
        .op("Mul", &["d", "k"], "e")
        .op("Add", &["e", "c"], "f")
        .op("Sub", &["f", "c"], "g")
        .node(construct::node("Cast", "out", ["g"], ["y"]).attr_int("to", 1))
        .output("y", ElementType::Float32, &[4])
        .build()
}

fn expected(x: f32) -> f32 {
    let (c, h) = (f16::from_f32(2048.0), f16::from_f32);
    let d = h((h((h(x)).to_f32() + c.to_f32())).to_f32() - c.to_f32());
    let e = h(d.to_f32() * 1.25);
    h(h(e.to_f32() + c.to_f32()).to_f32() - c.to_f32()).to_f32()
}

#[test]
fn every_node_rounds() {
    let Some(runtime) = runtime() else { return };
    let model = stepping_model();
    let values = vec![0.3f32, 0.7, 1.3, 3.1];
    let x = Tensor::from_vec(vec![4], values.clone()).unwrap();
    let emulated = emulate_half(&typed(&runtime, &model), &model).unwrap().unwrap();
    let emulated = run(&runtime, &emulated, &[("x", &x)])["y"].to_vec_f32().unwrap();
    let truth: Vec<f32> = values.iter().map(|&x| expected(x)).collect();
    assert_eq!(emulated, truth);
    let direct = run(&runtime, &model, &[("x", &x)])["y"].to_vec_f32().unwrap();
    assert_ne!(direct, truth, "ONNX Runtime rounds half precision on a CPU now: the emulation may no longer be needed");
}

#[test]
fn a_model_without_half_needs_none() {
    let Some(runtime) = runtime() else { return };
    let model =
        SmallModel::new(17).input("x", &[4]).op("Relu", &["x"], "y").output("y", ElementType::Float32, &[4]).build();
    assert!(emulate_half(&typed(&runtime, &model), &model).unwrap().is_none());
}

#[test]
fn half_inputs_and_outputs_keep_their_type() {
    let Some(runtime) = runtime() else { return };
    let mut model =
        SmallModel::new(17).input("x", &[2]).op("Sqrt", &["x"], "y").output("y", ElementType::Float16, &[2]).build();
    let graph = model.proto_mut().graph.as_mut().unwrap();
    graph.input[0] = construct::tensor_value("x", ElementType::Float16, [2]);
    let emulated = emulate_half(&typed(&runtime, &model), &model).unwrap().unwrap();
    let x = Tensor::from_vec(vec![2], vec![f16::from_f32(2.0), f16::from_f32(9.0)]).unwrap();
    let outputs = run(&runtime, &emulated, &[("x", &x)]);
    assert_eq!(outputs["y"].element, ElementType::Float16);
    assert_eq!(outputs["y"].to_vec_f32().unwrap(), [f16::from_f32(2f32.sqrt()).to_f32(), 3.0]);
}

/// A pair whose scale is half precision, between casts.
fn half_pair(opset: i64) -> Model {
    SmallModel::new(opset)
        .input("x", &[6])
        .tensor(construct::scalar("s", f16::from_f32(0.1)))
        .tensor(construct::scalar("z", 0i8))
        .node(construct::node("Cast", "in", ["x"], ["h"]).attr_int("to", 10))
        .op("QuantizeLinear", &["h", "s", "z"], "q")
        .op("DequantizeLinear", &["q", "s", "z"], "d")
        .node(construct::node("Cast", "out", ["d"], ["y"]).attr_int("to", 1))
        .output("y", ElementType::Float32, &[6])
        .build()
}

#[test]
fn pairs_with_half_scales_round_twice() {
    let Some(runtime) = runtime() else { return };
    let values = vec![0.0f32, 0.149, -0.151, 5.04, 12.75, -99.0];
    let scale = f16::from_f32(0.1).to_f32();
    let truth: Vec<f32> = values
        .iter()
        .map(|&x| (f16::from_f32(x).to_f32() / scale).round_ties_even().clamp(-128.0, 127.0))
        .map(|step| f16::from_f32(step * scale).to_f32())
        .collect();
    assert_ne!(truth[4], 127.0f32 * 0.1, "the example shows the rounding of the scale");
    for opset in [19, 21] {
        let model = half_pair(opset);
        let emulated = emulate_half(&typed(&runtime, &model), &model).unwrap().unwrap();
        let x = Tensor::from_vec(vec![6], values.clone()).unwrap();
        let y = run(&runtime, &emulated, &[("x", &x)])["y"].to_vec_f32().unwrap();
        assert_eq!(y, truth, "opset {opset}");
    }
}
