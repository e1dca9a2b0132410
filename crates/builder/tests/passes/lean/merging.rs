use super::{checked, difference, image};
use crate::small_model::{SmallModel, count, numbers, runtime, typed};
use trtforge_builder::passes::lean::MergeSiblingConvolutions;
use trtforge_builder::passes::run_pass;
use trtforge_graph::{ElementType, Model, construct};
use trtforge_onnxruntime::OnnxRuntime;

/// Convolutions `a` (6 channels) and `b` (2 channels) of one image, each behind its own activation.
fn siblings(opset: i64, activations: [&str; 2], strides: i64) -> Model {
    let convolution = |name: &str, inputs: &[&str], output: &str| {
        construct::node("Conv", name, inputs.iter().copied(), [output]).attr_ints("strides", vec![strides, strides])
    };
    let mut model = SmallModel::new(opset)
        .input("x", &[1, 4, 6, 6])
        .constant("wa", &[6, 4, 1, 1], numbers(&[24]).to_vec_f32().unwrap())
        .constant("wb", &[2, 4, 1, 1], numbers(&[8]).to_vec_f32().unwrap())
        .constant("ba", &[6], numbers(&[6]).to_vec_f32().unwrap())
        .op("Abs", &["x"], "t")
        .node(convolution("conv_a", &["t", "wa", "ba"], "ca"))
        .node(convolution("conv_b", &["t", "wb"], "cb"));
    for (activation, conv, output) in [(activations[0], "ca", "a"), (activations[1], "cb", "b")] {
        model = match activation {
            "Silu" => model.op("Sigmoid", &[conv], &format!("{output}_gate")).op(
                "Mul",
                &[&format!("{output}_gate"), conv],
                output,
            ),
            op => model.op(op, &[conv], output),
        };
    }
    let side = if strides == 1 { 6 } else { 3 };
    model
        .node(construct::node("Concat", "join", ["b", "a"], ["y"]).attr_int("axis", 1))
        .output("y", ElementType::Float32, &[1, 8, side, side])
        .build()
}

fn merged(runtime: &OnnxRuntime, model: &Model) -> (Model, usize) {
    let mut graph = typed(runtime, model);
    let applied = run_pass(&MergeSiblingConvolutions, &mut graph, &()).unwrap();
    (checked(runtime, &graph), applied)
}

#[test]
fn siblings_become_one_convolution() {
    let Some(runtime) = runtime() else { return };
    for (opset, activation) in [(11, "Relu"), (17, "Relu"), (17, "Silu"), (17, "HardSwish")] {
        let model = siblings(opset, [activation; 2], 1);
        let (after, applied) = merged(&runtime, &model);
        assert_eq!((applied, count(&after, "Conv"), count(&after, "Split")), (1, 1, 1), "{activation}");
        assert!(count(&after, activation) <= 1);
        assert!(difference(&runtime, &model, &after, &[("x", &image(4, 6, 6))]) < 1e-5);
    }
}

#[test]
fn siblings_with_different_activations_or_strides_stay_apart() {
    let Some(runtime) = runtime() else { return };
    for model in
        [siblings(17, ["Relu", "Silu"], 1), siblings(17, ["Relu", "HardSwish"], 1), siblings(17, ["Relu"; 2], 2)]
    {
        let (after, applied) = merged(&runtime, &model);
        assert_eq!((applied, count(&after, "Conv")), (0, 2));
    }
}

#[test]
fn an_output_behind_one_of_them_keeps_its_name() {
    let Some(runtime) = runtime() else { return };
    let mut model = siblings(17, ["Relu"; 2], 1);
    model.proto_mut().graph.as_mut().unwrap().output.push(construct::tensor_value(
        "a",
        ElementType::Float32,
        [1, 6, 6, 6],
    ));
    let (after, applied) = merged(&runtime, &model);
    assert_eq!(applied, 1);
    assert!(difference(&runtime, &model, &after, &[("x", &image(4, 6, 6))]) < 1e-5);
    let mut before_relu = siblings(17, ["Relu"; 2], 1);
    let outputs = &mut before_relu.proto_mut().graph.as_mut().unwrap().output;
    outputs.push(construct::tensor_value("ca", ElementType::Float32, [1, 6, 6, 6]));
    assert_eq!(merged(&runtime, &before_relu).1, 0, "what lies before an activation is an output of its own");
}
