//! Range-aware half precision: islands stay, casts stand at borders only, and what overflows in half does not overflow.

use crate::small_model::{SmallModel, count, numbers, run, runtime, typed};
use trtforge_builder::passes::{CancelCasts, ConvertToHalf, HalfInputsOutputs, Pass, emulate_half, run_pass};
use trtforge_builder::precision::{HALF_MAX, HalfPolicy, NodePrecision, PrecisionTable, Range, Ranges};
use trtforge_builder::{ErrorSums, Keep};
use trtforge_graph::{ElementType, Graph, Model, Tensor, construct};
use trtforge_onnxruntime::OnnxRuntime;

fn convert(graph: &mut Graph, table: &PrecisionTable) {
    for patch in (ConvertToHalf { table }).patches(graph).unwrap() {
        graph.apply(patch).unwrap();
    }
    run_pass(&CancelCasts, graph, &()).unwrap();
}

fn half_of(runtime: &OnnxRuntime, model: &Model, ranges: Option<&Ranges>, keep: &[Keep]) -> (Model, PrecisionTable) {
    let mut graph = typed(runtime, model);
    let table = HalfPolicy { ranges, limit: HALF_MAX, keep }.decide(&graph);
    convert(&mut graph, &table);
    graph.remove_dead();
    (graph.into_model().unwrap(), table)
}

/// Signal-to-noise ratio of the half model, rounded as half rounds, in decibel; `None` where it produced NaN or infinities.
fn sqnr(runtime: &OnnxRuntime, reference: &Model, half: &Model, x: &Tensor) -> Option<f64> {
    let emulated = emulate_half(&typed(runtime, half), half).unwrap().unwrap_or_else(|| half.clone());
    let expected = run(runtime, reference, &[("x", x)])["y"].to_vec_f32().unwrap();
    let actual = run(runtime, &emulated, &[("x", x)])["y"].to_vec_f32().unwrap();
    let mut sums = ErrorSums::default();
    sums.add(&expected, &actual);
    let accuracy = sums.finish("y");
    (accuracy.non_finite == 0).then(|| accuracy.sqnr_db.unwrap_or(f64::INFINITY))
}

fn precision_of(table: &PrecisionTable, node: &str) -> NodePrecision {
    table.rows().iter().find(|row| row.node == node).unwrap_or_else(|| panic!("no row for {node}")).precision
}

/// Normalisation written out, over values whose squares overflow in half precision.
fn layer_norm_over_large_values() -> Model {
    let mean = |output: &str, input: &str| {
        construct::node("ReduceMean", &format!("mean_{output}"), [input], [output]).attr_ints("axes", vec![-1])
    };
    SmallModel::new(13)
        .input("x", &[4, 32])
        .constant("large", &[], vec![900.0])
        .constant("two", &[], vec![2.0])
        .constant("epsilon", &[], vec![1e-5])
        .constant("w", &[32, 16], numbers(&[32, 16]).to_vec_f32().unwrap())
        .op("Mul", &["x", "large"], "scaled")
        .node(mean("mu", "scaled"))
        .op("Sub", &["scaled", "mu"], "centred")
        .op("Pow", &["centred", "two"], "square")
        .node(mean("variance", "square"))
        .op("Add", &["variance", "epsilon"], "safe")
        .op("Sqrt", &["safe"], "deviation")
        .op("Div", &["centred", "deviation"], "normal")
        .op("MatMul", &["normal", "w"], "y")
        .output("y", ElementType::Float32, &[4, 16])
        .build()
}

#[test]
fn a_normalisation_over_large_values_stays_right() {
    let Some(runtime) = runtime() else { return };
    let model = layer_norm_over_large_values();
    let x = numbers(&[4, 32]);
    let (half, table) = half_of(&runtime, &model, None, &[]);
    assert_eq!(precision_of(&table, "Pow_square"), NodePrecision::Fp32);
    assert_eq!(precision_of(&table, "MatMul_y"), NodePrecision::Fp16);
    assert!(sqnr(&runtime, &model, &half, &x).unwrap() > 50.0);
    let everything: Keep = "fp16:.".parse().unwrap();
    let (naive, _) = half_of(&runtime, &model, None, &[everything]);
    assert!(
        sqnr(&runtime, &model, &naive, &x).is_none_or(|db| db < 20.0),
        "the model does not overflow in half, so it tests nothing"
    );
}

#[test]
fn a_constant_of_a_million_keeps_its_node() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[8])
        .constant("million", &[], vec![1e6])
        .constant("small", &[], vec![1e-6])
        .op("Mul", &["x", "million"], "big")
        .op("Mul", &["big", "small"], "back")
        .op("Sigmoid", &["back"], "y")
        .output("y", ElementType::Float32, &[8])
        .build();
    let (half, table) = half_of(&runtime, &model, None, &[]);
    assert_eq!(precision_of(&table, "Mul_big"), NodePrecision::Fp32);
    assert!(table.kept().any(|row| row.reason.contains("1.0000e6")), "{:?}", table.rows());
    assert!(sqnr(&runtime, &model, &half, &numbers(&[8])).unwrap() > 50.0);
}

#[test]
fn observed_ranges_keep_what_would_overflow() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[8])
        .constant("k", &[], vec![300.0])
        .op("Mul", &["x", "k"], "a")
        .op("Mul", &["a", "k"], "b")
        .op("Sqrt", &["b"], "y")
        .output("y", ElementType::Float32, &[8])
        .build();
    let mut ranges = Ranges::default();
    for (value, max) in [("x", 3.0), ("a", 900.0), ("b", 270_000.0), ("y", 520.0)] {
        ranges.add(value, Range { min: 0.0, max });
    }
    let (_, table) = half_of(&runtime, &model, Some(&ranges), &[]);
    let precisions: Vec<_> = ["Mul_a", "Mul_b", "Sqrt_y"].map(|node| precision_of(&table, node)).into();
    assert_eq!(precisions, [NodePrecision::Fp16, NodePrecision::Fp32, NodePrecision::Fp32]);
    assert!(table.kept().any(|row| row.reason.contains("`b` reaches")));
}

#[test]
fn casts_stand_at_borders_only_and_shared_constants_are_doubled() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[8])
        .constant("c", &[8], vec![0.5; 8])
        .op("Add", &["x", "c"], "a")
        .op("Mul", &["a", "c"], "b")
        .op("Sub", &["b", "c"], "d")
        .op("Add", &["d", "d"], "e")
        .op("Relu", &["e"], "y")
        .output("y", ElementType::Float32, &[8])
        .build();
    let keep: Keep = "fp32:^Mul_b$".parse().unwrap();
    let (half, _) = half_of(&runtime, &model, None, &[keep]);
    // In front of Add_a, before and behind Mul_b, behind Relu_y.
    assert_eq!(count(&half, "Cast"), 4, "{:?}", half.proto().graph.node);
    let types: Vec<i32> = half.proto().graph.initializer.iter().map(|tensor| tensor.data_type()).collect();
    assert!(types.contains(&1) && types.contains(&10) && types.len() == 2, "{types:?}");
    assert!(sqnr(&runtime, &model, &half, &numbers(&[8])).unwrap() > 50.0);
}

#[test]
fn all_half_has_one_cast_at_each_end() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[1, 3, 8, 8])
        .constant("w", &[4, 3, 3, 3], numbers(&[4, 3, 3, 3]).to_vec_f32().unwrap())
        .op("Conv", &["x", "w"], "a")
        .op("Sigmoid", &["a"], "s")
        .op("Mul", &["a", "s"], "y")
        .output("y", ElementType::Float32, &[1, 4, 6, 6])
        .build();
    let (half, table) = half_of(&runtime, &model, None, &[]);
    assert_eq!((count(&half, "Cast"), table.counts().fp16), (2, 3));
    let mut graph = typed(&runtime, &half);
    run_pass(&HalfInputsOutputs, &mut graph, &()).unwrap();
    run_pass(&CancelCasts, &mut graph, &()).unwrap();
    let narrow = graph.into_model().unwrap();
    assert_eq!(count(&narrow, "Cast"), 0, "{:?}", narrow.proto().graph.node);
    let borders = narrow.proto().graph.input.iter().chain(&narrow.proto().graph.output);
    for value in borders {
        assert_eq!(trtforge_graph::ValueType::from_proto(&value.type_).unwrap().element(), Some(ElementType::Float16));
    }
}

#[test]
fn values_that_a_subgraph_reads_stay_in_32_bits() {
    let Some(runtime) = runtime() else { return };
    let branch = |op: &str, name: &str| {
        let mut graph = trtforge_graph::proto::GraphProto::new();
        graph.set_name(name.into());
        graph.node.push(construct::node(op, &format!("{name}_{op}"), ["a"], [format!("{name}_y")]));
        graph.output.push(construct::tensor_value(&format!("{name}_y"), ElementType::Float32, [8]));
        graph
    };
    let model = SmallModel::new(17)
        .input("x", &[8])
        .constant("c", &[8], vec![0.5; 8])
        .tensor(construct::raw_tensor("yes", ElementType::Bool, [], vec![1u8]))
        .op("Add", &["x", "c"], "a")
        .op("Sqrt", &["a"], "b")
        .node(
            construct::node("If", "if", ["yes"], ["z"])
                .attr_graph("then_branch", branch("Neg", "t"))
                .attr_graph("else_branch", branch("Abs", "e")),
        )
        .op("Add", &["b", "z"], "y")
        .output("y", ElementType::Float32, &[8])
        .build();
    let (half, table) = half_of(&runtime, &model, None, &[]);
    assert_eq!(precision_of(&table, "if"), NodePrecision::Fp32);
    assert_eq!(precision_of(&table, "Sqrt_b"), NodePrecision::Fp16);
    let x = Tensor::from_vec(vec![8], vec![1.0f32; 8]).unwrap();
    let expected = run(&runtime, &model, &[("x", &x)])["y"].to_vec_f32().unwrap();
    let actual = run(&runtime, &half, &[("x", &x)])["y"].to_vec_f32().unwrap();
    assert!(expected.iter().zip(&actual).all(|(e, a)| (e - a).abs() < 1e-2), "{expected:?} {actual:?}");
}

#[test]
fn rounding_casts_are_never_cancelled() {
    let Some(runtime) = runtime() else { return };
    let cast = |from: &str, to: &str, element: i64| {
        construct::node("Cast", &format!("to_{to}"), [from], [to]).attr_int("to", element)
    };
    let model = SmallModel::new(17)
        .input("x", &[8])
        .node(cast("x", "h", 10))
        .node(cast("h", "w", 1))
        .op("Relu", &["w"], "y")
        .output("y", ElementType::Float32, &[8])
        .build();
    let mut graph = typed(&runtime, &model);
    assert_eq!(run_pass(&CancelCasts, &mut graph, &()).unwrap(), 0);
    assert_eq!(count(&graph.into_model().unwrap(), "Cast"), 2);
}

#[test]
fn an_operator_without_half_kernel_stays() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[4])
        .op("Exp", &["x"], "a")
        .node(construct::node("CumSum", "sum", ["a", "axis"], ["b"]))
        .tensor(construct::scalar("axis", 0i64))
        .op("Relu", &["b"], "y")
        .output("y", ElementType::Float32, &[4])
        .build();
    let (_, table) = half_of(&runtime, &model, None, &[]);
    assert_eq!(precision_of(&table, "sum"), NodePrecision::Fp32);
    assert_eq!(precision_of(&table, "Exp_a"), NodePrecision::Fp16);
}

#[test]
fn scores_are_computed_in_32_bits_and_activations_are_not() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[2, 8])
        .constant("w", &[8, 4], numbers(&[8, 4]).to_vec_f32().unwrap())
        .constant("shift", &[], vec![-12.0])
        .op("MatMul", &["x", "w"], "a")
        .op("Sigmoid", &["a"], "gate")
        .op("Mul", &["a", "gate"], "silu")
        .op("Add", &["silu", "shift"], "logits")
        .op("Sigmoid", &["logits"], "scores")
        .node(construct::node("Transpose", "turn", ["scores"], ["y"]).attr_ints("perm", vec![1, 0]))
        .output("y", ElementType::Float32, &[4, 2])
        .build();
    let (half, table) = half_of(&runtime, &model, None, &[]);
    let kept: Vec<&str> = table.kept().map(|row| row.node.as_str()).collect();
    assert_eq!(kept, ["Sigmoid_scores", "turn"]);
    assert_eq!(count(&half, "Cast"), 2);
    let x = numbers(&[2, 8]);
    let all_half: Keep = "fp16:.".parse().unwrap();
    let (naive, _) = half_of(&runtime, &model, None, &[all_half]);
    assert!(sqnr(&runtime, &model, &half, &x) > sqnr(&runtime, &model, &naive, &x));
}

/// The row of a flat index, as detectors compute it behind a TopK.
#[test]
fn positions_are_computed_in_32_bits() {
    let Some(runtime) = runtime() else { return };
    let cast = |from: &str, to: &str, element: i64| {
        construct::node("Cast", &format!("to_{to}"), [from], [to]).attr_int("to", element)
    };
    let mut model = SmallModel::new(17)
        .input("x", &[1, 16384])
        .tensor(construct::tensor("k", [1], vec![4i64]))
        .constant("width", &[], vec![128.0])
        .node(construct::node("TopK", "top", ["x", "k"], ["best", "index"]))
        .node(cast("index", "position", 1))
        .op("Div", &["position", "width"], "ratio")
        .op("Floor", &["ratio"], "row")
        .node(cast("row", "y", 7))
        .output("y", ElementType::Int64, &[1, 4])
        .build();
    model.proto_mut().graph.as_mut().unwrap().output.push(construct::tensor_value(
        "best",
        ElementType::Float32,
        [1, 4],
    ));
    let (half, table) = half_of(&runtime, &model, None, &[]);
    for node in ["to_position", "Div_ratio", "Floor_row"] {
        assert_eq!(precision_of(&table, node), NodePrecision::Fp32, "{node}");
    }
    let mut values = vec![0f32; 16384];
    values[16383] = 9.0;
    let x = Tensor::from_vec(vec![1, 16384], values).unwrap();
    let emulated = emulate_half(&typed(&runtime, &half), &half).unwrap().unwrap_or(half);
    assert_eq!(run(&runtime, &emulated, &[("x", &x)])["y"].to_vec_i64().unwrap()[0], 127);
}
