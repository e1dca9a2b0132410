//! INT8 from a model file to an engine: what is written, what is refused, and what the manifest says.

use crate::{libraries, mnist, run, test_data};
use std::path::Path;
use trtforge_builder::calibration::{CacheHeader, CalibrationCache, Sidecar};
use trtforge_builder::int8::DEFAULT_FLOOR;
use trtforge_builder::{
    BuildOptions, CalibrationMethod, CancelFlag, Error, Precision, PrepareOptions, Prepared, SampleSource, prepare,
};
use trtforge_graph::construct::{model, node, tensor, tensor_value};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Graph, Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};

/// `x [1,16,16,16]`, two convolutions with a ReLU and a SiLU, `y`.
fn network(folder: &Path) -> std::path::PathBuf {
    let mut graph = GraphProto::new();
    graph.set_name("network".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 16, 16, 16]));
    graph.output.push(tensor_value("y", ElementType::Float32, [1, 16, 16, 16]));
    let weights = |seed: u64| -> Vec<f32> {
        (0..16 * 16 * 9).map(|index: u64| ((index * 7919 + seed) % 1009) as f32 / 8000.0 - 0.06).collect()
    };
    graph.initializer = vec![tensor("w1", [16, 16, 3, 3], weights(1)), tensor("w2", [16, 16, 3, 3], weights(2))];
    graph.node = vec![
        node("Conv", "first", ["x", "w1"], ["c"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Relu", "relu", ["c"], ["r"]),
        node("Conv", "second", ["r", "w2"], ["d"]).attr_ints("pads", [1, 1, 1, 1]),
        node("Sigmoid", "sigmoid", ["d"], ["s"]),
        node("Mul", "silu", ["d", "s"], ["y"]),
    ];
    let path = folder.join("network.onnx");
    Model::from_proto(model(graph, 9, 17)).write(&path).unwrap();
    path
}

fn options(folder: &Path, precision: Precision) -> BuildOptions {
    let mut options = BuildOptions::new(PrepareOptions::new(network(folder), precision), folder.join("a.engine"));
    options.lean = false;
    options
}

/// An `.npy` of `count` inputs for [`network`].
fn samples(folder: &Path, count: usize) -> SampleSource {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 16, 16, 16), }}");
    let mut bytes = [b"\x93NUMPY\x01\x00".as_slice(), &118u16.to_le_bytes()].concat();
    bytes.extend(format!("{header:<117}\n").into_bytes());
    let values = (0..count * 4096).map(|index| ((index * 7919 % 1009) as f32 - 500.0) / 250.0);
    bytes.extend(values.flat_map(f32::to_le_bytes));
    let path = folder.join("x.npy");
    std::fs::write(&path, bytes).unwrap();
    SampleSource::Path(path)
}

fn prepared(options: &PrepareOptions) -> Result<Prepared, Error> {
    prepare(options, &(), &CancelFlag::default())
}

/// The convolutions that read integers, by name.
fn quantized(model: &Model) -> Vec<String> {
    let graph = Graph::new(model.clone()).unwrap();
    let integer = |node, slot| {
        let producer = graph.input(node, slot).and_then(|value| graph.producer(value));
        producer.is_some_and(|producer| graph.op_type(producer) == "DequantizeLinear")
    };
    let nodes = graph.node_ids().filter(|&node| graph.op_type(node) == "Conv" && integer(node, 0) && integer(node, 1));
    nodes.map(|node| graph.node_name(node)).collect()
}

#[test]
fn the_rest_is_half_precision_and_scales_lose_nothing() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepared(&options(folder.path(), Precision::Int8).prepare).unwrap();
    assert_eq!(quantized(&prepared.model), ["first", "second"]);
    let graph = Graph::new(prepared.model.clone()).unwrap();
    let scale = |node| -> Option<Tensor> { graph.constant(graph.input(node, 1)?) };
    let mut by_integers = std::collections::HashMap::<_, Vec<Vec<f32>>>::new();
    for node in graph.node_ids().filter(|&node| graph.op_type(node).ends_with("QuantizeLinear")) {
        let scales = scale(node).unwrap();
        let values = scales.to_vec_f32().unwrap();
        assert!(values.iter().all(|&value| value > 0.0 && value.is_finite()), "{}", graph.node_name(node));
        let integers = match graph.op_type(node) {
            "QuantizeLinear" => graph.output(node, 0),
            _ => {
                assert_eq!(scales.element, ElementType::Float16, "{}", graph.node_name(node));
                graph.input(node, 0)
            }
        };
        by_integers.entry(integers.unwrap()).or_default().push(values);
    }
    // Both sides of a pair, be they 32 bits or half, have the very same number.
    assert!(by_integers.values().all(|scales| scales.iter().all(|scale| *scale == scales[0])), "{by_integers:?}");
    OnnxRuntime::load().unwrap().session(&prepared.model, &SessionConfig::default()).unwrap();
}

#[test]
fn an_engine_says_what_it_was_calibrated_on() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Precision::Int8);
    options.prepare.keep = vec!["fp16:^first$".parse().unwrap()];
    let manifest = run(&options).unwrap().manifest;
    let calibration = manifest.calibration.unwrap();
    assert_eq!((calibration.method.as_str(), calibration.images), ("auto", 2));
    let share = manifest.precision.int8_flops.unwrap();
    assert!((share - 0.5).abs() < 1e-9, "one of two equal convolutions: {share}");
    let kept: Vec<_> = manifest.precision.kept.iter().map(|kept| (kept.node.as_str(), kept.reason.as_str())).collect();
    assert!(kept.contains(&("first", "kept by `^first$`")), "{kept:?}");
    assert!(manifest.accuracy[0].channel_db >= DEFAULT_FLOOR.channel_db, "{:?}", manifest.accuracy);
    options.prepare.keep.clear();
    let manifest = run(&options).unwrap().manifest;
    assert_eq!((manifest.precision.int8_flops, manifest.precision.nodes.int8), (Some(1.0), 2));
}

#[test]
fn auto_builds_what_takes_less_memory() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let total = |precision| {
        let options = BuildOptions { force: true, ..options(folder.path(), precision) };
        run(&options).unwrap().manifest.memory.total_bytes
    };
    let (int8, half, auto) = (total(Precision::Int8), total(Precision::Fp16), total(Precision::Auto));
    assert_eq!(auto, int8.min(half));
}

#[test]
fn only_an_engine_can_be_auto() {
    let folder = tempfile::tempdir().unwrap();
    let refused = prepared(&options(folder.path(), Precision::Auto).prepare);
    assert!(matches!(refused, Err(Error::PrecisionUnavailable { precision: "auto" })));
}

#[test]
fn a_model_without_weights_has_nothing_to_quantize() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut graph = GraphProto::new();
    graph.set_name("sum".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 16]));
    graph.output.push(tensor_value("y", ElementType::Float32, [1, 16]));
    graph.node.push(node("Add", "double", ["x", "x"], ["y"]));
    let path = folder.path().join("sum.onnx");
    Model::from_proto(model(graph, 9, 17)).write(&path).unwrap();
    let options = BuildOptions::new(PrepareOptions::new(path, Precision::Int8), folder.path().join("a.engine"));
    let error = run(&options).unwrap_err();
    assert!(matches!(&error, Error::NothingToCalibrate { rows, kept: 0 } if rows.is_empty()), "{error}");
    assert!(!options.output.exists());
}

#[test]
fn an_unreachable_floor_fails_and_names_the_figure() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Precision::Int8);
    let floor = "sqnr_db=200".parse().unwrap();
    (options.accuracy_floor, options.prepare.int8.floor) = (Some(floor), Some(floor));
    let error = run(&options).unwrap_err();
    let Error::AccuracyFloor(miss) = &error else { panic!("{error:?}") };
    assert_eq!((miss.worst.output.as_str(), miss.floor), ("y", floor));
    let attempt = miss.attempt.as_ref().unwrap();
    let int8 = attempt.int8.unwrap();
    assert!(int8.searched && int8.best_db >= int8.plain_db, "{int8:?}");
    assert!(attempt.nodes.iter().all(|node| ["first", "second"].contains(&node.node.as_str())), "{attempt:?}");
    assert!(!attempt.nodes.is_empty() && error.to_string().contains("sqnr_db is "), "{error}");
    assert!(!options.output.exists());
}

#[test]
fn a_cache_of_something_else_is_refused_unless_forced() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("a.cache");
    let mut options = options(folder.path(), Precision::Int8).prepare;
    options.int8.cache = Some(cache.clone());
    options.samples = samples(folder.path(), 5);
    prepared(&options).unwrap();
    assert!(cache.exists() && Sidecar::path_for(&cache).exists());
    prepared(&options).unwrap();
    options.sample_count = Some(3);
    let Err(Error::StaleCache { differences, .. }) = prepared(&options) else { panic!("other samples were accepted") };
    assert_eq!(differences.iter().map(|difference| difference.what).collect::<Vec<_>>(), ["number of images"]);
    options.int8.force = true;
    let decision = prepared(&options).unwrap().decision.unwrap();
    assert_eq!(decision.int8_share, 1.0);
}

#[test]
fn a_cache_made_elsewhere_gives_its_own_scales() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("a.cache");
    let mut options = options(folder.path(), Precision::Int8).prepare;
    options.int8.cache = Some(cache.clone());
    let write = |entries: &[(&str, f32)]| {
        let header = CacheHeader::new("8501", CalibrationMethod::Entropy);
        let entries = entries.iter().map(|(name, scale)| ((*name).to_owned(), *scale));
        std::fs::write(&cache, CalibrationCache::new(header, entries).unwrap().to_bytes()).unwrap();
    };
    write(&[("x", 0.03125), ("c", 0.5), ("r", 0.0625), ("(Unnamed Layer* 4) [Shuffle]_output", 1.0)]);
    let scales = prepared(&options).unwrap().decision.unwrap().found.plan.scales;
    let mut scales: Vec<f32> = scales.into_values().collect();
    scales.sort_by(f32::total_cmp);
    assert_eq!(scales, [0.03125, 0.0625]);
    write(&[("x", 0.03125)]);
    let refused = prepared(&options);
    assert!(matches!(refused, Err(Error::ForeignCache { missing, .. }) if missing == ["r"]));
    write(&[("x", 0.03125), ("r", 0.0625), ("conv_99", 0.5)]);
    let refused = prepared(&options);
    assert!(matches!(refused, Err(Error::ForeignCache { foreign, .. }) if foreign == ["conv_99"]));
    options.int8.force = true;
    prepared(&options).unwrap();
}

/// `x [1,16,16,16]`, its first convolution enlarged again and convolved together with two tensors that are not: what is left of the concatenation is new in a lean form.
fn enlarging(folder: &Path) -> std::path::PathBuf {
    let mut graph = GraphProto::new();
    graph.set_name("enlarging".into());
    graph.input.push(tensor_value("x", ElementType::Float32, [1, 16, 16, 16]));
    graph.output.push(tensor_value("y", ElementType::Float32, [1, 16, 16, 16]));
    let weights = |count: u64| -> Vec<f32> {
        (0..count).map(|index| ((index * 7919 + count) % 1009) as f32 / 8000.0 - 0.06).collect()
    };
    let scales = tensor("scales", [4], vec![1f32, 1.0, 2.0, 2.0]);
    graph.initializer = vec![
        tensor("w1", [16, 16, 3, 3], weights(2304)),
        tensor("w2", [16, 16, 1, 1], weights(256)),
        tensor("w3", [16, 48, 1, 1], weights(768)),
        scales,
    ];
    graph.node = vec![
        node("Conv", "first", ["x", "w1"], ["c"]).attr_ints("pads", [1, 1, 1, 1]).attr_ints("strides", [2, 2]),
        node("Relu", "relu", ["c"], ["small"]),
        node("Resize", "resize", ["small", "", "scales"], ["large"])
            .attr_string("coordinate_transformation_mode", "asymmetric")
            .attr_string("nearest_mode", "floor"),
        node("Conv", "second", ["x", "w2"], ["d"]),
        node("Relu", "relu2", ["d"], ["e"]),
        node("Concat", "concat", ["x", "e", "large"], ["all"]).attr_int("axis", 1),
        node("Conv", "third", ["all", "w3"], ["y"]),
    ];
    let path = folder.join("enlarging.onnx");
    Model::from_proto(model(graph, 9, 17)).write(&path).unwrap();
    path
}

/// A cache knows the tensors of the network as it is; a lean form finds the scale of what it joins through the parts.
#[test]
fn a_cache_serves_a_lean_form() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("a.cache");
    let mut options = PrepareOptions::new(enlarging(folder.path()), Precision::Int8);
    options.int8.cache = Some(cache.clone());
    let header = CacheHeader::new("8501", CalibrationMethod::Entropy);
    let entries = [("x", 0.03125), ("small", 0.0625), ("large", 0.0625), ("e", 0.125), ("all", 0.125)];
    let entries = entries.map(|(name, scale)| (name.to_owned(), scale));
    std::fs::write(&cache, CalibrationCache::new(header, entries).unwrap().to_bytes()).unwrap();
    options.form.split_concatenations = true;
    let decision = prepared(&options).unwrap();
    let split = quantized(&decision.model);
    assert_eq!(split.len(), 4, "{split:?}");
    let plan = decision.decision.unwrap().found.plan;
    let scales: Vec<f32> = plan.scales.values().copied().collect();
    assert!(scales.contains(&0.125) && scales.contains(&0.0625), "{scales:?}");
    let build = |options: &PrepareOptions| run(&BuildOptions::new(options.clone(), folder.path().join("a.engine")));
    options.form = Default::default();
    build(&options).unwrap();
    std::fs::remove_file(&cache).unwrap();
    options.samples = samples(folder.path(), 3);
    let outcome = build(&options).unwrap();
    assert!(!outcome.up_to_date && cache.exists(), "without a cache there is one afterwards");
    assert_eq!(outcome.manifest.precision.int8_flops, Some(1.0));
}

#[test]
fn a_model_that_comes_quantized_passes_through() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), Precision::Int8);
    let emitted = folder.path().join("int8.onnx");
    options.emit_onnx = Some(emitted.clone());
    let first = run(&options).unwrap().manifest;
    let again = PrepareOptions::new(&emitted, Precision::Int8);
    let prepared = prepared(&again).unwrap();
    assert!(prepared.decision.is_none());
    assert_eq!(quantized(&prepared.model), ["first", "second"]);
    let mut second = BuildOptions::new(again, folder.path().join("again.engine"));
    second.lean = false;
    assert_eq!(run(&second).unwrap().manifest.memory.weights_bytes, first.memory.weights_bytes);
}

#[test]
fn trained_models_keep_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut digits) = mnist(&folder, Precision::Int8).filter(|_| libraries()) else { return };
    digits.lean = false;
    let manifest = run(&digits).unwrap().manifest;
    assert!(manifest.precision.int8_flops.unwrap() > 0.5, "{:?}", manifest.precision);
    let Some(model) = test_data("models/fastestdet_352.onnx") else { return };
    let mut prepare = PrepareOptions::new(model, Precision::Int8);
    prepare.samples = SampleSource::Path(test_data("images/calibration").unwrap());
    prepare.sample_count = Some(4);
    prepare.preprocess = Some(serde_saphyr::from_str("{order: bgr, scale: 0.00392156862745098}").unwrap());
    let mut options = BuildOptions::new(prepare, folder.path().join("fastestdet.engine"));
    options.lean = false;
    let manifest = run(&options).unwrap().manifest;
    let calibration = manifest.calibration.unwrap();
    assert!(calibration.images == 4 && calibration.data_sha256.is_some() && calibration.preprocess_sha256.is_some());
    assert!(manifest.precision.int8_flops.unwrap() > 0.9, "{:?}", manifest.precision.int8_flops);
    assert!(manifest.precision.kept.iter().all(|kept| !kept.reason.is_empty()), "{:?}", manifest.precision.kept);
    assert!(
        manifest
            .accuracy
            .iter()
            .all(|output| output.channel_db.is_none_or(|found| Some(found) >= DEFAULT_FLOOR.channel_db))
    );
}
