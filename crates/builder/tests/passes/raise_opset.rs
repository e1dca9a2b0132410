//! Every change of definition that `raise-opset` carries over: the raised model computes what the old one did.

use crate::small_model::{SmallModel, numbers, run, runtime, typed};
use trtforge_builder::Error;
use trtforge_builder::passes::{Pass, RaiseOpset};
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{ElementType, Model, Tensor, construct};

const TARGET: i64 = 19;

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    construct::node(op, op, inputs.iter().copied(), outputs.iter().copied())
}

fn model(opset: i64, input: &[u64], node: NodeProto, output: &[u64]) -> SmallModel {
    SmallModel::new(opset).input("x", input).node(node).output("y", ElementType::Float32, output)
}

/// Raises, checks that the operator set did rise, and compares the numbers.
fn agrees(model: Model, shape: &[u64]) {
    let Some(runtime) = runtime() else { return };
    let mut graph = typed(&runtime, &model);
    let pass = RaiseOpset { target: TARGET };
    for patch in pass.patches(&mut graph).unwrap() {
        graph.apply(patch).unwrap();
    }
    let raised = graph.into_model().unwrap();
    assert_eq!(raised.opset(""), Some(TARGET));
    let x: Tensor = numbers(shape);
    let (old, new) = (run(&runtime, &model, &[("x", &x)]), run(&runtime, &raised, &[("x", &x)]));
    assert_eq!(old.len(), new.len());
    for (name, tensor) in &old {
        assert_eq!(
            (&tensor.shape, tensor.to_vec_f32().unwrap()),
            (&new[name].shape, new[name].to_vec_f32().unwrap()),
            "{name}"
        );
    }
}

fn refused(model: Model) -> String {
    let Some(runtime) = runtime() else { return "without ONNX Runtime nothing is refused".into() };
    match (RaiseOpset { target: TARGET }).patches(&mut typed(&runtime, &model)) {
        Err(error @ Error::Opset { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(patches) => panic!("{} patches", patches.len()),
    }
}

#[test]
fn squeeze_and_unsqueeze() {
    agrees(
        model(11, &[2, 1, 3], node("Squeeze", &["x"], &["y"]).attr_ints("axes", vec![1]), &[2, 3]).build(),
        &[2, 1, 3],
    );
    agrees(
        model(11, &[2, 3], node("Unsqueeze", &["x"], &["y"]).attr_ints("axes", vec![0, 3]), &[1, 2, 3, 1]).build(),
        &[2, 3],
    );
}

#[test]
fn reductions() {
    for op in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare"] {
        agrees(
            model(11, &[2, 3, 4], node(op, &["x"], &["y"]).attr_ints("axes", vec![1]).attr_int("keepdims", 0), &[2, 4])
                .build(),
            &[2, 3, 4],
        );
        agrees(model(11, &[2, 3], node(op, &["x"], &["y"]).attr_int("keepdims", 1), &[1, 1]).build(), &[2, 3]);
    }
}

#[test]
fn split_with_and_without_sizes() {
    let sized = SmallModel::new(11)
        .input("x", &[6])
        .node(node("Split", &["x"], &["y", "z"]).attr_ints("split", vec![2, 4]))
        .output("y", ElementType::Float32, &[2])
        .output("z", ElementType::Float32, &[4]);
    agrees(sized.build(), &[6]);
    let even = SmallModel::new(11)
        .input("x", &[6])
        .node(node("Split", &["x"], &["y", "z"]))
        .output("y", ElementType::Float32, &[3])
        .output("z", ElementType::Float32, &[3]);
    agrees(even.build(), &[6]);
}

#[test]
fn softmax_over_the_last_axis_only() {
    agrees(model(11, &[2, 5], node("Softmax", &["x"], &["y"]), &[2, 5]).build(), &[2, 5]);
    agrees(
        model(11, &[2, 3, 5], node("LogSoftmax", &["x"], &["y"]).attr_int("axis", 2), &[2, 3, 5]).build(),
        &[2, 3, 5],
    );
    agrees(model(11, &[2, 5, 1, 1], node("Softmax", &["x"], &["y"]), &[2, 5, 1, 1]).build(), &[2, 5, 1, 1]);
    assert!(
        refused(model(11, &[2, 3, 5], node("Softmax", &["x"], &["y"]), &[2, 3, 5]).build()).contains("several axes")
            || runtime().is_none()
    );
}

#[test]
fn clip_pad_slice_topk() {
    agrees(
        model(9, &[12], node("Clip", &["x"], &["y"]).attr_float("min", -1.0).attr_float("max", 1.5), &[12]).build(),
        &[12],
    );
    agrees(model(9, &[12], node("Clip", &["x"], &["y"]).attr_float("max", 1.5), &[12]).build(), &[12]);
    agrees(
        model(
            9,
            &[2, 3],
            node("Pad", &["x"], &["y"]).attr_ints("pads", vec![0, 1, 1, 0]).attr_float("value", 2.5),
            &[3, 4],
        )
        .build(),
        &[2, 3],
    );
    agrees(
        model(
            9,
            &[4, 6],
            node("Slice", &["x"], &["y"])
                .attr_ints("starts", vec![1, 0])
                .attr_ints("ends", vec![3, -1])
                .attr_ints("axes", vec![0, 1]),
            &[2, 5],
        )
        .build(),
        &[4, 6],
    );
    let top = SmallModel::new(9)
        .input("x", &[6])
        .node(node("TopK", &["x"], &["y", "i"]).attr_int("k", 3))
        .output("y", ElementType::Float32, &[3])
        .output("i", ElementType::Int64, &[3]);
    agrees(top.build(), &[6]);
}

#[test]
fn upsample_and_old_resize() {
    for mode in ["nearest", "linear"] {
        let upsample = node("Upsample", &["x", "s"], &["y"]).attr_string("mode", mode);
        agrees(
            model(9, &[1, 2, 3, 4], upsample, &[1, 2, 6, 8]).constant("s", &[4], vec![1.0, 1.0, 2.0, 2.0]).build(),
            &[1, 2, 3, 4],
        );
        let resize = node("Resize", &["x", "s"], &["y"]).attr_string("mode", mode);
        agrees(
            model(10, &[1, 2, 3, 4], resize, &[1, 2, 6, 8]).constant("s", &[4], vec![1.0, 1.0, 2.0, 2.0]).build(),
            &[1, 2, 3, 4],
        );
    }
    let attribute =
        node("Upsample", &["x"], &["y"]).attr_floats("scales", vec![1.0, 1.0, 2.0, 3.0]).attr_string("mode", "nearest");
    agrees(model(7, &[1, 2, 3, 4], attribute, &[1, 2, 6, 12]).build(), &[1, 2, 3, 4]);
}

#[test]
fn what_is_not_in_the_tables_is_refused() {
    let group = node("GroupNormalization", &["x", "s", "b"], &["y"]).attr_int("num_groups", 2);
    let model = model(18, &[1, 4, 2, 2], group, &[1, 4, 2, 2])
        .constant("s", &[2], vec![1.0, 2.0])
        .constant("b", &[2], vec![0.0, 1.0])
        .build();
    assert!(refused(model).contains("GroupNormalization") || runtime().is_none());
}

#[test]
fn a_newer_model_is_left_alone() {
    let Some(runtime) = runtime() else { return };
    let model = model(20, &[4], node("Relu", &["x"], &["y"]), &[4]).build();
    let mut graph = typed(&runtime, &model);
    assert!((RaiseOpset { target: TARGET }).patches(&mut graph).unwrap().is_empty());
    assert_eq!(graph.into_model().unwrap().opset(""), Some(20));
}
