use super::{checked, difference, image};
use crate::small_model::{SmallModel, count, numbers, runtime, typed};
use trtforge_builder::passes::lean::{BandRows, Reach, Segment};
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{ElementType, Graph, Model, construct};

fn convolution(name: &str, inputs: &[&str], output: &str, stride: i64, pads: [i64; 4]) -> NodeProto {
    let node = construct::node("Conv", name, inputs.iter().copied(), [output]);
    node.attr_ints("strides", vec![stride, stride]).attr_ints("pads", pads.to_vec())
}

fn weights(model: SmallModel, name: &str, shape: [u64; 4]) -> SmallModel {
    let count = shape.iter().product::<u64>() as f32;
    let values = numbers(&shape).to_vec_f32().unwrap().into_iter().map(|x| x * 4.0 / count).collect();
    model.constant(name, &shape, values)
}

/// A stem, a residual block whose Add reads the stem, a strided convolution, and a pyramid step behind it that reads two heights.
fn network() -> Model {
    let model = SmallModel::new(17).input("x", &[1, 3, 33, 20]);
    let model = weights(model, "w0", [8, 3, 3, 3]);
    let model = weights(model, "w1", [8, 8, 3, 3]);
    let model = weights(model, "w2", [6, 8, 3, 3]);
    model
        .tensor(construct::tensor("factors", [4], vec![1f32, 1.0, 2.0, 2.0]))
        .node(convolution("stem", &["x", "w0"], "stem", 1, [1; 4]))
        .op("Relu", &["stem"], "a")
        .node(convolution("inner", &["a", "w1"], "inner", 1, [1; 4]))
        .op("Sigmoid", &["inner"], "gate")
        .op("Mul", &["inner", "gate"], "silu")
        .op("Add", &["silu", "a"], "sum")
        .node(convolution("down", &["sum", "w2"], "end", 2, [1; 4]))
        .op("Relu", &["end"], "tail")
        .node(
            construct::node("Resize", "up", ["tail", "", "factors"], ["up"])
                .attr_string("mode", "nearest")
                .attr_string("coordinate_transformation_mode", "asymmetric")
                .attr_string("nearest_mode", "floor"),
        )
        .node(
            construct::node("MaxPool", "pool", ["up"], ["y"])
                .attr_ints("kernel_shape", vec![3, 3])
                .attr_ints("pads", vec![1; 4]),
        )
        .output("y", ElementType::Float32, &[1, 6, 34, 20])
        .build()
}

fn segment(graph: &Graph, end: &str, reach: Reach) -> Option<Segment> {
    Segment::behind(graph, graph.value_id(end).unwrap(), reach)
}

#[test]
fn every_number_of_bands_gives_the_same_numbers() {
    let Some(runtime) = runtime() else { return };
    let model = network();
    let x = image(3, 33, 20);
    for (end, bands) in [("end", 2), ("end", 3), ("end", 17), ("sum", 5), ("y", 4), ("y", 34), ("a", 33)] {
        let mut graph = typed(&runtime, &model);
        let segment = segment(&graph, end, Reach::Whole).unwrap();
        assert!(segment.begins_at_inputs(&graph));
        assert!(BandRows { segment: &segment, bands }.apply(&mut graph).unwrap());
        let after = checked(&runtime, &graph);
        assert_eq!(count(&after, "Concat"), 1);
        assert!(difference(&runtime, &model, &after, &[("x", &x)]) < 1e-5, "{end} in {bands} bands");
    }
}

#[test]
fn weights_are_shared_and_kernels_are_not() {
    let Some(runtime) = runtime() else { return };
    let mut graph = typed(&runtime, &network());
    let before = graph.initializers().filter(|(_, tensor)| tensor.dims.len() == 4).count();
    let segment = segment(&graph, "end", Reach::Whole).unwrap();
    BandRows { segment: &segment, bands: 4 }.apply(&mut graph).unwrap();
    assert_eq!(graph.initializers().filter(|(_, tensor)| tensor.dims.len() == 4).count(), before);
    assert_eq!(count(&graph.into_model().unwrap(), "Conv"), 12);
}

#[test]
fn a_segment_ends_where_something_else_reads() {
    let Some(runtime) = runtime() else { return };
    let graph = typed(&runtime, &network());
    let names = |reach| -> Vec<String> {
        segment(&graph, "sum", reach).unwrap().nodes().map(|node| graph.node_name(node)).collect()
    };
    assert_eq!(names(Reach::Whole), ["stem", "Relu_a", "inner", "Sigmoid_gate", "Mul_silu", "Add_sum"]);
    let inner = segment(&graph, "silu", Reach::Whole).unwrap();
    assert_eq!(inner.sources(), [graph.value_id("a").unwrap()], "`a` is read by the sum as well");
    assert!(!inner.begins_at_inputs(&graph));
    let level = segment(&graph, "y", Reach::SameHeight).unwrap();
    assert_eq!(level.sources(), [graph.value_id("up").unwrap()]);
}

#[test]
fn more_bands_than_rows_and_single_bands_change_nothing() {
    let Some(runtime) = runtime() else { return };
    for bands in [0, 1, 18] {
        let mut graph = typed(&runtime, &network());
        let segment = segment(&graph, "end", Reach::Whole).unwrap();
        let nodes = graph.node_count();
        assert!(!BandRows { segment: &segment, bands }.apply(&mut graph).unwrap());
        assert_eq!(graph.node_count(), nodes);
    }
}

/// What mixes rows, or counts padding, or is written by columns of constants, must not be cut.
#[test]
fn what_mixes_rows_is_refused() {
    let Some(runtime) = runtime() else { return };
    let refused = [
        construct::node("GlobalAveragePool", "n", ["x"], ["y"]),
        construct::node("AveragePool", "n", ["x"], ["y"])
            .attr_ints("kernel_shape", vec![3, 3])
            .attr_ints("pads", vec![1; 4]),
        construct::node("Add", "n", ["x", "by_row"], ["y"]),
        construct::node("Concat", "n", ["x", "x"], ["y"]).attr_int("axis", 2),
        construct::node("ConvTranspose", "n", ["x", "w"], ["y"]),
        construct::node("Softmax", "n", ["x"], ["y"]).attr_int("axis", 2),
        construct::node("Slice", "n", ["x", "last", "before_first", "two", "backwards"], ["y"]),
    ];
    for node in refused {
        let label = node.op_type().to_owned();
        let model = SmallModel::new(17)
            .input("x", &[1, 3, 8, 8])
            .constant("by_row", &[8, 1], vec![1.0; 8])
            .constant("w", &[3, 3, 2, 2], vec![1.0; 36])
            .tensor(construct::tensor("last", [1], vec![-1i64]))
            .tensor(construct::tensor("before_first", [1], vec![-100i64]))
            .tensor(construct::tensor("two", [1], vec![2i64]))
            .tensor(construct::tensor("backwards", [1], vec![-1i64]))
            .node(node);
        let mut proto = model.build();
        proto.proto_mut().graph.as_mut().unwrap().output.push(Default::default());
        proto.proto_mut().graph.as_mut().unwrap().output[0].set_name("y".into());
        let graph = typed(&runtime, &proto);
        assert!(segment(&graph, "y", Reach::Whole).is_none(), "{label}");
    }
}

/// Quantized in FP16, as a converted model is: pairs on tensors, weights behind a DequantizeLinear, half scales.
#[test]
fn quantized_half_networks_keep_every_bit() {
    let Some(runtime) = runtime() else { return };
    let half = |name: &str, dims: Vec<u64>, values: Vec<f32>| {
        let values: Vec<half::f16> = values.into_iter().map(half::f16::from_f32).collect();
        construct::tensor(name, dims, values)
    };
    let integers: Vec<i8> = (0..8 * 3 * 9).map(|i| (i * 37 % 255 - 127) as i8).collect();
    let model = SmallModel::new(19)
        .input("x", &[1, 3, 21, 16])
        .tensor(construct::tensor("w", [8, 3, 3, 3], integers))
        .tensor(half("scales", vec![8], vec![0.01; 8]))
        .tensor(construct::tensor("zeros", [8], vec![0i8; 8]))
        .tensor(half("scale", vec![], vec![0.05]))
        .tensor(construct::scalar("zero", 0i8))
        .node(construct::node("Cast", "to_half", ["x"], ["h"]).attr_int("to", 10))
        .node(construct::node("DequantizeLinear", "weights", ["w", "scales", "zeros"], ["wd"]).attr_int("axis", 0))
        .op("QuantizeLinear", &["h", "scale", "zero"], "hq")
        .op("DequantizeLinear", &["hq", "scale", "zero"], "hd")
        .node(convolution("conv", &["hd", "wd"], "c", 2, [1; 4]))
        .op("Relu", &["c"], "r")
        .op("QuantizeLinear", &["r", "scale", "zero"], "rq")
        .op("DequantizeLinear", &["rq", "scale", "zero"], "rd")
        .node(construct::node("Cast", "to_float", ["rd"], ["y"]).attr_int("to", 1))
        .output("y", ElementType::Float32, &[1, 8, 11, 8])
        .build();
    let mut graph = typed(&runtime, &model);
    let segment = segment(&graph, "rd", Reach::Whole).unwrap();
    assert!(BandRows { segment: &segment, bands: 3 }.apply(&mut graph).unwrap());
    let after = checked(&runtime, &graph);
    assert_eq!(count(&after, "QuantizeLinear"), 6);
    assert_eq!(count(&after, "DequantizeLinear"), 7, "the weights are dequantized once");
    assert!(difference(&runtime, &model, &after, &[("x", &image(3, 21, 16))]) < 1e-5);
}

/// The last of the windows would begin in the padding on the right: kernels leave it out, older shape inference counts it.
#[test]
fn shapes_behind_a_doubtful_pool_are_not_relied_on() {
    let Some(runtime) = runtime() else { return };
    let model = |columns: u64| {
        let pool = construct::node("MaxPool", "pool", ["x"], ["p"])
            .attr_ints("kernel_shape", vec![2; 2])
            .attr_ints("strides", vec![2; 2])
            .attr_ints("pads", vec![1; 4])
            .attr_int("ceil_mode", 1);
        let same = construct::node("Conv", "same", ["p", "w"], ["c"]).attr_string("auto_pad", "SAME_LOWER");
        let mut model = SmallModel::new(17)
            .input("x", &[1, 4, 32, columns])
            .constant("w", &[4, 4, 2, 2], numbers(&[4, 4, 2, 2]).to_vec_f32().unwrap())
            .node(pool)
            .node(same.attr_ints("strides", vec![2; 2]))
            .op("Relu", &["c"], "y")
            .build();
        let open = trtforge_graph::TensorType { element: ElementType::Float32, shape: None };
        model.proto_mut().graph.as_mut().unwrap().output.push(construct::value_info("y", &open.into()));
        model
    };
    assert!(segment(&typed(&runtime, &model(12)), "y", Reach::Whole).is_some());
    assert!(segment(&typed(&runtime, &model(13)), "c", Reach::Whole).is_none());
}
