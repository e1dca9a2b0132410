//! Models that come quantized: recognised, converted with the numbers of the source, or refused by name.

use crate::quantized::{ZeroPoint, dequantize, int8_weights, pair, worst_sqnr};
use crate::small_model::{SmallModel, count, numbers, run, runtime, typed};
use std::collections::BTreeMap;
use std::sync::Arc;
use trtforge_builder::quantization::existing::{Existing, recognise, settle};
use trtforge_builder::{
    CancelFlag, CompileOptions, DEFAULT_WORKSPACE_BYTES, Error, Progress, ShapeRequest, Timings, Watch, compile,
};
use trtforge_graph::proto::{NodeProto, TensorProto};
use trtforge_graph::{ElementType, Graph, Model, construct};

const MICROSOFT: &str = "com.microsoft";

fn named(mut model: Model) -> Model {
    model.proto_mut().opset_import.push(construct::opset_import(MICROSOFT, 1));
    model
}

fn conv(name: &str, inputs: &[&str], output: &str) -> NodeProto {
    construct::node("Conv", name, inputs.iter().copied(), [output]).attr_ints("pads", [1, 1, 1, 1])
}

/// Converts a model, checks that the result is what TensorRT takes, and returns it with the worst SQNR against the source in decibel.
fn converted(model: &Model, shape: &[u64]) -> Option<(Model, f64)> {
    let runtime = runtime()?;
    let mut graph = typed(&runtime, model);
    let found = settle(&mut graph, &()).unwrap();
    assert!(matches!(found, Existing::Convertible(_)), "{found:?}");
    let result = graph.into_model().unwrap();
    trtforge_graph::ensure_valid(&result).unwrap();
    let after = recognise(&typed(&runtime, &result));
    assert!(matches!(after, Existing::TensorRtReady | Existing::None), "{after:?}");
    let x = numbers(shape);
    let sqnr = worst_sqnr(&run(&runtime, model, &[("x", &x)]), &run(&runtime, &result, &[("x", &x)]));
    Some((result, sqnr))
}

fn initializer<'m>(model: &'m Model, part: &str) -> &'m TensorProto {
    model.proto().graph.initializer.iter().find(|tensor| tensor.name().contains(part)).unwrap()
}

/// What onnxruntime's quantizer writes by default with unsigned activations: the Relu is left out, its work done by the zero-point of 0; the bias is quantized.
pub fn unsigned(weight_zero: u8) -> Model {
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 8, 8, 8]);
    let model = pair(model, "x", "xq", 0.03, ZeroPoint::Unsigned(120));
    let stored: Vec<u8> = (0..8 * 36).map(|index: u32| (index * 53 % 256) as u8).collect();
    let bias: Vec<i32> = (0..8).map(|channel| channel * 300 - 1200).collect();
    let model = model
        .tensor(construct::tensor("w.q", [8, 4, 3, 3], stored))
        .tensor(construct::scalar("w.s", 0.002f32))
        .tensor(construct::scalar("w.z", weight_zero))
        .node(dequantize("w", &["w.q".into(), "w.s".into(), "w.z".into()]))
        .tensor(construct::tensor("b.q", [8], bias))
        .tensor(construct::scalar("b.s", 0.03f32 * 0.002))
        .tensor(construct::scalar("b.z", 0i32))
        .node(dequantize("b", &["b.q".into(), "b.s".into(), "b.z".into()]))
        .node(conv("conv", &["xq", "w", "b"], "c"));
    pair(model, "c", "y", 0.02, ZeroPoint::Unsigned(0)).build()
}

#[test]
fn a_model_without_quantization_is_left_alone() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(13).input("x", &[2]).op("Relu", &["x"], "y").output("y", ElementType::Float32, &[2]);
    let mut graph = typed(&runtime, &model.build());
    let before = graph.clone().into_model().unwrap().to_bytes().unwrap();
    assert_eq!(settle(&mut graph, &()).unwrap(), Existing::None);
    assert_eq!(graph.into_model().unwrap().to_bytes().unwrap(), before);
}

#[test]
fn what_tensorrt_takes_passes_through_unchanged() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(13).input("x", &[1, 4, 8, 8]).output("y", ElementType::Float32, &[1, 8, 8, 8]);
    let model = pair(model, "x", "xq", 0.02, ZeroPoint::Signed(0));
    let model = int8_weights(model, "w", &[8, 4, 3, 3], 0).node(conv("conv", &["xq", "w"], "y")).build();
    let mut graph = typed(&runtime, &model);
    let before = graph.clone().into_model().unwrap().to_bytes().unwrap();
    assert_eq!(settle(&mut graph, &()).unwrap(), Existing::TensorRtReady);
    assert_eq!(graph.into_model().unwrap().to_bytes().unwrap(), before);
}

#[test]
fn unsigned_activations_weights_and_a_quantized_bias() {
    let Some((model, sqnr)) = converted(&unsigned(101), &[1, 4, 8, 8]) else { return };
    assert!(sqnr > 30.0, "{sqnr} dB");
    assert_eq!(count(&model, "Relu"), 1, "what the zero-point cut off has to be cut off again");
    let weight = initializer(&model, "__int8");
    assert_eq!((weight.data_type(), weight.dims.as_slice()), (ElementType::Int8.to_onnx(), [8, 4, 3, 3].as_slice()));
    assert_eq!(initializer(&model, "w__scale").dims, [8], "one scale per output channel");
    let x = numbers(&[1, 4, 8, 8]);
    let outputs = run(&runtime().unwrap(), &model, &[("x", &x)]);
    assert!(outputs["y"].to_vec_f32().unwrap().iter().all(|&value| value >= 0.0));
}

#[test]
fn unsigned_numbers_around_128_are_signed_ones_and_nothing_is_lost() {
    let model = SmallModel::new(13).input("x", &[1, 4]).output("y", ElementType::Float32, &[1, 4]);
    let model = pair(model, "x", "xq", 0.02, ZeroPoint::Unsigned(128)).op("Sin", &["xq"], "y").build();
    let Some((model, sqnr)) = converted(&model, &[1, 4]) else { return };
    assert_eq!(sqnr, f64::INFINITY);
    assert_eq!(count(&model, "Relu"), 0);
}

#[test]
fn a_range_below_zero_is_cut_off_above_it() {
    let model =
        SmallModel::new(13).input("x", &[1, 8]).output("y", ElementType::Float32, &[1, 8]).op("Sin", &["x"], "s");
    let model = pair(model, "s", "y", 0.004, ZeroPoint::Unsigned(255)).build();
    let Some((model, sqnr)) = converted(&model, &[1, 8]) else { return };
    assert!(sqnr > 35.0, "{sqnr} dB");
    assert_eq!(count(&model, "Min"), 1);
}

#[test]
fn no_second_relu_behind_one() {
    let model =
        SmallModel::new(13).input("x", &[1, 8]).output("y", ElementType::Float32, &[1, 8]).op("Relu", &["x"], "r");
    let model = pair(model, "r", "y", 0.02, ZeroPoint::Unsigned(0)).build();
    let Some((model, _)) = converted(&model, &[1, 8]) else { return };
    assert_eq!(count(&model, "Relu"), 1);
}

fn parameters(model: SmallModel, name: &str, scale: f32, zero_point: u8) -> SmallModel {
    model
        .tensor(construct::scalar(&format!("{name}.s"), scale))
        .tensor(construct::scalar(&format!("{name}.z"), zero_point))
}

/// `x` quantized to `x.q`.
fn quantized_input(shape: &[u64]) -> SmallModel {
    let model = SmallModel::new(13).input("x", shape);
    parameters(model, "x", 0.03, 120).op("QuantizeLinear", &["x", "x.s", "x.z"], "x.q")
}

fn with_output(model: SmallModel, quantized: &str, parameters: &str, shape: &[u64]) -> Model {
    let inputs = [quantized.to_owned(), format!("{parameters}.s"), format!("{parameters}.z")];
    named(model.node(dequantize("y", &inputs)).output("y", ElementType::Float32, shape).build())
}

#[test]
fn a_convolution_on_quantized_tensors_with_a_pooling_behind_it() {
    // Seven bits: on processors without VNNI, ONNX Runtime adds two products of unsigned and signed bytes in 16 bits, where larger ones saturate.
    let stored: Vec<i8> = (0..8 * 36).map(|index: i32| (index * 53 % 127 - 63) as i8).collect();
    let scales: Vec<f32> = (0..8).map(|channel| 0.002 + channel as f32 * 0.0004).collect();
    let model = parameters(quantized_input(&[1, 4, 8, 8]), "c", 0.02, 0)
        .tensor(construct::tensor("w", [8, 4, 3, 3], stored))
        .tensor(construct::tensor("w.s", [8], scales))
        .tensor(construct::tensor("w.z", [8], vec![0i8; 8]))
        .tensor(construct::tensor("b", [8], (0..8).map(|channel| channel * 200 - 700).collect::<Vec<i32>>()))
        .node(
            construct::node(
                "QLinearConv",
                "conv",
                ["x.q", "x.s", "x.z", "w", "w.s", "w.z", "c.s", "c.z", "b"],
                ["c.q"],
            )
            .attr_ints("pads", [1, 1, 1, 1]),
        )
        .node(construct::node("MaxPool", "pool", ["c.q"], ["p.q"]).attr_ints("kernel_shape", [2, 2]));
    let Some((model, sqnr)) = converted(&with_output(model, "p.q", "c", &[1, 8, 7, 7]), &[1, 4, 8, 8]) else { return };
    assert!(sqnr > 30.0, "{sqnr} dB");
    assert_eq!((count(&model, "QLinearConv"), count(&model, "Conv"), count(&model, "Relu")), (0, 1, 1));
}

#[test]
fn products_sums_and_concatenations_of_quantized_tensors() {
    let stored: Vec<u8> = (0..8 * 8).map(|index: u32| (index * 53 % 256) as u8).collect();
    let model = parameters(quantized_input(&[2, 8]), "w", 0.004, 117).tensor(construct::tensor("w", [8, 8], stored));
    let model = ["m", "a", "c"].into_iter().fold(model, |model, name| parameters(model, name, 0.06, 125));
    let model = model
        .op("QLinearMatMul", &["x.q", "x.s", "x.z", "w", "w.s", "w.z", "m.s", "m.z"], "m.q")
        .node(
            construct::node("QLinearAdd", "add", ["m.q", "m.s", "m.z", "x.q", "x.s", "x.z", "a.s", "a.z"], ["a.q"])
                .in_domain(MICROSOFT),
        )
        .node(
            construct::node(
                "QLinearConcat",
                "concat",
                ["c.s", "c.z", "m.q", "m.s", "m.z", "a.q", "a.s", "a.z"],
                ["c.q"],
            )
            .in_domain(MICROSOFT)
            .attr_int("axis", 1),
        );
    let Some((model, sqnr)) = converted(&with_output(model, "c.q", "c", &[2, 16]), &[2, 8]) else { return };
    assert!(sqnr > 30.0, "{sqnr} dB");
    assert!(model.proto().graph.node.iter().all(|node| node.domain().is_empty()));
}

#[test]
fn weights_of_a_transposed_convolution_get_their_scales_along_the_other_axis() {
    let model = SmallModel::new(13).input("x", &[1, 4, 4, 4]).output("y", ElementType::Float32, &[1, 6, 8, 8]);
    let model = pair(model, "x", "xq", 0.03, ZeroPoint::Signed(0));
    let model = int8_weights(model, "w", &[4, 6, 2, 2], 0)
        .node(construct::node("ConvTranspose", "up", ["xq", "w"], ["y"]).attr_ints("strides", [2, 2]))
        .build();
    let Some((model, sqnr)) = converted(&model, &[1, 4, 4, 4]) else { return };
    assert!(sqnr > 35.0, "{sqnr} dB");
    assert_eq!(initializer(&model, "w__scale").dims, [6]);
}

#[test]
fn stored_tensors_that_are_no_weights_return_to_floating_point_exactly() {
    let model = SmallModel::new(13)
        .input("x", &[4])
        .tensor(construct::tensor("k.q", [4], vec![0u8, 90, 200, 255]))
        .tensor(construct::scalar("k.s", 0.013f32))
        .tensor(construct::scalar("k.z", 90u8))
        .node(dequantize("k", &["k.q".into(), "k.s".into(), "k.z".into()]))
        .op("Mul", &["x", "k"], "y")
        .output("y", ElementType::Float32, &[4])
        .build();
    let Some((_, sqnr)) = converted(&model, &[4]) else { return };
    assert!(sqnr > 120.0, "{sqnr} dB");
}

#[test]
fn a_stored_tensor_that_is_moved_before_it_is_dequantized() {
    let model = SmallModel::new(13)
        .input("x", &[3, 2])
        .tensor(construct::tensor("k.q", [2, 3], vec![0u8, 90, 200, 255, 7, 130]))
        .tensor(construct::scalar("k.s", 0.013f32))
        .tensor(construct::scalar("k.z", 90u8))
        .op("Transpose", &["k.q"], "t.q")
        .node(dequantize("k", &["t.q".into(), "k.s".into(), "k.z".into()]))
        .op("Mul", &["x", "k"], "y")
        .output("y", ElementType::Float32, &[3, 2])
        .build();
    let Some((_, sqnr)) = converted(&model, &[3, 2]) else { return };
    assert!(sqnr > 35.0, "{sqnr} dB");
}

#[test]
fn half_scales_of_the_other_domain_raise_the_opset() {
    let half = |value: f32| half::f16::from_f32(value);
    let cast = |name: &str, from: &str, to: &str, ty| construct::node("Cast", name, [from], [to]).attr_int("to", ty);
    let linear = |op: &str, from: &str, to: &str| construct::node(op, to, [from, "s", "z"], [to]).in_domain(MICROSOFT);
    let model = SmallModel::new(17)
        .input("x", &[8])
        .tensor(construct::scalar("s", half(0.03)))
        .tensor(construct::scalar("z", 120u8))
        .node(cast("in", "x", "h", 10))
        .node(linear("QuantizeLinear", "h", "q"))
        .node(linear("DequantizeLinear", "q", "d"))
        .node(cast("out", "d", "y", 1))
        .output("y", ElementType::Float32, &[8])
        .build();
    let Some((model, sqnr)) = converted(&named(model), &[8]) else { return };
    assert!(sqnr > 35.0, "{sqnr} dB");
    assert_eq!(model.opset(""), Some(19));
    assert_eq!(initializer(&model, "__scale").data_type(), ElementType::Float16.to_onnx());
    assert!(model.proto().graph.node.iter().all(|node| node.domain().is_empty()));
}

#[test]
fn what_is_said_of_a_model_that_is_built_as_it_is() {
    let Some(runtime) = runtime() else { return };
    let said = |model: &Model| recognise(&typed(&runtime, model)).describe();
    let plain = SmallModel::new(13).input("x", &[2]).op("Relu", &["x"], "y").output("y", ElementType::Float32, &[2]);
    assert_eq!(said(&plain.build()), None);
    let sentence = said(&unsigned(101)).unwrap();
    assert!(sentence.contains("--precision int8 converts it") && sentence.ends_with("6 places)"), "{sentence}");
}

fn refusals(model: Model) -> Option<Vec<String>> {
    let runtime = runtime()?;
    let mut graph = Graph::new(model.clone()).unwrap();
    if let Ok(types) = runtime.infer_types(&model) {
        graph.set_types(types);
    }
    let findings = match recognise(&graph) {
        Existing::Refused(findings) => findings,
        other => panic!("{other:?}"),
    };
    assert!(matches!(settle(&mut graph, &()), Err(Error::Quantized { findings: same }) if same == findings));
    Some(findings.iter().map(ToString::to_string).collect())
}

#[test]
fn scales_that_are_no_positive_numbers_are_refused_by_name() {
    for scale in [0.0, -0.5, f32::NAN, f32::INFINITY] {
        let model = SmallModel::new(13).input("x", &[4]).output("y", ElementType::Float32, &[4]);
        let model = pair(model, "x", "y", scale, ZeroPoint::Signed(0)).build();
        let Some(refusals) = refusals(model) else { return };
        let expected = format!("QuantizeLinear `y.quantize`: its scale {scale} is not a positive number");
        assert_eq!(refusals[0], expected);
        assert_eq!(refusals.len(), 2);
    }
}

#[test]
fn scales_that_are_computed_are_refused() {
    let model = SmallModel::new(13)
        .input("x", &[2, 4])
        .node(construct::node("DynamicQuantizeLinear", "dynamic", ["x"], ["x.q", "x.s", "x.z"]))
        .tensor(construct::tensor("w", [4, 3], vec![1u8; 12]))
        .op("MatMulInteger", &["x.q", "w", "x.z"], "y")
        .output("y", ElementType::Int32, &[2, 3])
        .build();
    let Some(refusals) = refusals(model) else { return };
    assert!(refusals[0].starts_with("DynamicQuantizeLinear `dynamic`: its scales are computed"), "{refusals:?}");
    assert_eq!(refusals.len(), 2);
}

#[test]
fn activations_with_a_scale_per_channel_are_refused() {
    let model = SmallModel::new(13)
        .input("x", &[1, 4])
        .tensor(construct::tensor("s", [4], vec![0.1f32; 4]))
        .tensor(construct::tensor("z", [4], vec![0i8; 4]))
        .op("QuantizeLinear", &["x", "s", "z"], "q")
        .op("DequantizeLinear", &["q", "s", "z"], "y")
        .output("y", ElementType::Float32, &[1, 4])
        .build();
    let Some(refusals) = refusals(model) else { return };
    assert!(refusals[0].contains("an activation has a scale per channel"), "{refusals:?}");
}

#[test]
fn quantized_inputs_and_outputs_of_the_model_are_refused() {
    let model = parameters(SmallModel::new(13).input("x", &[4]), "x", 0.1, 7)
        .op("QuantizeLinear", &["x", "x.s", "x.z"], "y")
        .output("y", ElementType::UInt8, &[4])
        .build();
    let Some(refusals) = refusals(model) else { return };
    assert_eq!(refusals, ["QuantizeLinear `QuantizeLinear_y`: its 8-bit output `y` is an output of the model"]);
}

#[test]
fn another_reader_than_dequantize_is_refused() {
    let model = parameters(SmallModel::new(13).input("x", &[4]), "x", 0.1, 7)
        .op("QuantizeLinear", &["x", "x.s", "x.z"], "q")
        .node(construct::node("Cast", "cast", ["q"], ["y"]).attr_int("to", 1))
        .output("y", ElementType::Float32, &[4])
        .build();
    let Some(refusals) = refusals(model) else { return };
    assert!(refusals[0].ends_with("read by Cast `cast`, which is not DequantizeLinear"), "{refusals:?}");
}

#[test]
fn a_pair_that_disagrees_is_refused() {
    let model = parameters(SmallModel::new(13).input("x", &[4]), "x", 0.1, 7)
        .tensor(construct::scalar("other", 0.2f32))
        .op("QuantizeLinear", &["x", "x.s", "x.z"], "q")
        .op("DequantizeLinear", &["q", "other", "x.z"], "y")
        .output("y", ElementType::Float32, &[4])
        .build();
    let Some(refusals) = refusals(model) else { return };
    assert!(refusals[0].contains("another scale or zero-point"), "{refusals:?}");
}

#[test]
fn weights_are_kept_in_range_of_their_own_scale() {
    let Some((model, _)) = converted(&unsigned(0), &[1, 4, 8, 8]) else { return };
    let weight = trtforge_graph::Tensor::from_proto(initializer(&model, "__int8")).unwrap();
    let values = weight.as_slice::<i8>().unwrap().to_vec();
    assert!(values.iter().all(|&value| value >= -127));
    assert!(values.chunks(36).all(|channel| channel.iter().any(|value| value.unsigned_abs() == 127)));
}

/// Whether TensorRT makes an engine of a model.
fn compiles(model: &Model) -> bool {
    let tensorrt = trtforge_tensorrt::TensorRt::load().unwrap();
    let shapes = trtforge_builder::passes::resolve_shapes(model, &ShapeRequest::default(), None).unwrap();
    let options = CompileOptions {
        workspace_bytes: DEFAULT_WORKSPACE_BYTES,
        auxiliary_streams: 0,
        compute_capabilities: vec![],
        formats: BTreeMap::new(),
    };
    let progress: Arc<dyn Progress> = Arc::new(());
    let watch = Watch { progress: &progress, cancel: &CancelFlag::default() };
    compile(&tensorrt, model, &shapes, &options, &mut Timings::default(), &watch).is_ok()
}

#[test]
fn tensorrt_builds_an_engine_from_the_conversion_and_not_from_the_source() {
    let source = unsigned(101);
    let Some((model, _)) = converted(&source, &[1, 4, 8, 8]) else { return };
    if trtforge_tensorrt::TensorRt::load().is_err() && std::env::var_os("TRTFORGE_REQUIRE_LIBRARIES").is_none() {
        eprintln!("skipped: TensorRT is missing");
        return;
    }
    assert!(compiles(&model));
    assert!(!compiles(&source), "TensorRT takes unsigned quantization now: the conversion may no longer be needed");
}
