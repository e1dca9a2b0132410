//! Models compared inside: which values are matched, and where an error is found.

use crate::quantized::{ZeroPoint, pair, weights};
use crate::small_model::{SmallModel, runtime};
use tempfile::TempDir;
use trtforge_builder::{
    CancelFlag, CompareOptions, Error, LayerReport, Precision, PrepareOptions, compare, compare_layers,
};
use trtforge_graph::{ElementType, Model, construct};

const SHAPE: [u64; 4] = [1, 4, 8, 8];

fn convolution(model: SmallModel, from: &str, to: &str) -> SmallModel {
    let weight = format!("{to}.w");
    let node = construct::node("Conv", &format!("conv {to}"), [from, &weight], [to]).attr_ints("pads", [1, 1, 1, 1]);
    model.constant(&weight, &[4, 4, 3, 3], weights(&[4, 4, 3, 3])).node(node)
}

fn start() -> SmallModel {
    SmallModel::new(17).input("x", &SHAPE).output("y", ElementType::Float32, &SHAPE)
}

fn reference() -> Model {
    let model = convolution(convolution(start(), "x", "a"), "a", "b");
    model.op("Relu", &["b"], "r").op("Tanh", &["r"], "y").build()
}

fn options(folder: &TempDir, reference: &Model, candidate: &Model) -> CompareOptions {
    let paths = ["reference.onnx", "candidate.onnx"].map(|name| folder.path().join(name));
    for (model, path) in [reference, candidate].into_iter().zip(&paths) {
        model.write(path).unwrap();
    }
    let [reference, candidate] = paths;
    CompareOptions { reference: PrepareOptions::new(reference, Precision::Fp32), candidate }
}

fn report(candidate: &Model) -> Option<LayerReport> {
    runtime()?;
    let folder = tempfile::tempdir().unwrap();
    Some(compare_layers(&options(&folder, &reference(), candidate), &(), &CancelFlag::default()).unwrap())
}

fn sqnr(report: &LayerReport, value: &str) -> f64 {
    let layer = report.layers.iter().find(|layer| layer.accuracy.output == value).unwrap();
    layer.accuracy.sqnr_db.unwrap_or(f64::INFINITY)
}

#[test]
fn a_model_is_equal_to_itself_everywhere() {
    let Some(report) = report(&reference()) else { return };
    let operators: Vec<_> = report.layers.iter().map(|layer| layer.operator.as_str()).collect();
    assert_eq!(operators, ["Conv", "Conv", "Relu", "Tanh"]);
    assert_eq!((report.layers[0].node.as_str(), report.layers[0].accuracy.output.as_str()), ("conv a", "a"));
    assert!(report.layers.iter().all(|layer| layer.accuracy.sqnr_db.is_none() && !layer.worst_so_far));
    assert_eq!((report.unmatched, report.samples), (0, 2));
}

#[test]
fn a_coarse_pair_shows_from_its_reader_on() {
    let model = pair(convolution(start(), "x", "a"), "a", "aq", 0.05, ZeroPoint::Signed(0));
    let model = convolution(model, "aq", "b").op("Relu", &["b"], "r").op("Tanh", &["r"], "y").build();
    let Some(report) = report(&model) else { return };
    assert_eq!(sqnr(&report, "a"), f64::INFINITY, "what is quantized is not worse before that");
    let b = sqnr(&report, "b");
    assert!((3.0..40.0).contains(&b), "{b} dB");
    assert!(report.layers[1].worst_so_far);
}

#[test]
fn values_stored_in_eight_bits_are_judged_as_they_are_read() {
    let model = convolution(start(), "x", "float");
    let model = model.tensor(construct::scalar("s", 0.01f32)).tensor(construct::scalar("z", 0i8));
    let model = model.op("QuantizeLinear", &["float", "s", "z"], "a").op("DequantizeLinear", &["a", "s", "z"], "back");
    let model = convolution(model, "back", "b").op("Tanh", &["b"], "y").build();
    let Some(report) = report(&model) else { return };
    assert_eq!(report.layers[0].stands_for.as_deref(), Some("back"));
    assert!((10.0..80.0).contains(&sqnr(&report, "a")), "{} dB", sqnr(&report, "a"));
    assert_eq!(report.unmatched, 1, "there is no `r`");
}

#[test]
fn half_precision_is_compared_as_it_is_rounded() {
    let half = |values: Vec<f32>| values.into_iter().map(half::f16::from_f32).collect::<Vec<_>>();
    let cast = |name: &str, from: &str, to: &str, ty| construct::node("Cast", name, [from], [to]).attr_int("to", ty);
    let model = start()
        .node(cast("in", "x", "h", 10))
        .tensor(construct::tensor("w", [4, 4, 3, 3], half(weights(&[4, 4, 3, 3]))))
        .node(construct::node("Conv", "conv", ["h", "w"], ["a"]).attr_ints("pads", [1, 1, 1, 1]))
        .node(cast("out", "a", "f", 1));
    let model = convolution(model, "f", "b").op("Relu", &["b"], "r").op("Tanh", &["r"], "y").build();
    let Some(report) = report(&model) else { return };
    assert!((50.0..90.0).contains(&sqnr(&report, "a")), "{} dB", sqnr(&report, "a"));
}

#[test]
fn models_with_other_inputs_are_told_apart_by_name_and_shape() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let small = [1, 4, 6, 6];
    let other = SmallModel::new(17).input("x", &small).output("y", ElementType::Float32, &small);
    let error = |candidate: Model| {
        let options = options(&folder, &reference(), &candidate);
        let error = compare(&options, &(), &CancelFlag::default()).unwrap_err();
        assert!(matches!(error, Error::InputsDiffer { .. }), "{error}");
        error.to_string()
    };
    let said = error(other.op("Relu", &["x"], "y").build());
    let expected = "the models do not take the same inputs: `x` is float32[1,4,8,8] in the reference and float32[1,4,6,6] in the candidate";
    assert_eq!(said, expected);
    let renamed = SmallModel::new(17).input("z", &SHAPE).output("y", ElementType::Float32, &SHAPE);
    assert!(
        error(renamed.op("Relu", &["z"], "y").build())
            .ends_with("`x` is float32[1,4,8,8] in the reference and missing in the candidate")
    );
}

/// What a symmetric pair computes, written with plain operators.
fn rounded(model: SmallModel, from: &str, to: &str, scale: f32) -> SmallModel {
    let names = ["s", "least", "most", "divided", "steps", "kept"].map(|part| format!("{to}.{part}"));
    let [s, least, most, divided, steps, kept] = names.each_ref().map(String::as_str);
    model
        .constant(s, &[], vec![scale])
        .constant(least, &[], vec![-128.0])
        .constant(most, &[], vec![127.0])
        .op("Div", &[from, s], divided)
        .op("Round", &[divided], steps)
        .op("Clip", &[steps, least, most], kept)
        .op("Mul", &[kept, s], to)
}

#[test]
fn pairs_are_run_as_they_stand() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plain = rounded(rounded(start(), "x", "a", 0.07), "a", "y", 0.05).build();
    let zero = ZeroPoint::Signed(0);
    let pairs = pair(pair(start(), "x", "a", 0.07, zero), "a", "y", 0.05, zero).build();
    let options = options(&folder, &plain, &pairs);
    let outputs = compare(&options, &(), &CancelFlag::default()).unwrap().outputs;
    assert!(outputs[0].sqnr_db.is_none_or(|sqnr| sqnr > 100.0), "{outputs:?}: pairs were merged or removed");
}
