//! Networks in stages: what is written, and that cutting changes no number.

use crate::{libraries, mnist, run, test_data};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use trtforge_builder::passes::resolve_shapes;
use trtforge_builder::{
    BuildOptions, ByteSize, CancelFlag, Divisible, Error, FormMemory, Manifest, Precision, PrepareOptions, Progress,
    Segment, ShapeRequest, Stages, digest, lay_out, measure, prepare, quantize,
};
use trtforge_graph::segmentation::SegmentMemory;
use trtforge_graph::{Graph, Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, Optimization, SessionConfig};
use trtforge_zoo::{Batch, Options, Variant, generate};

fn staged(folder: &tempfile::TempDir, model: PathBuf, stages: Stages) -> BuildOptions {
    let mut options = BuildOptions::new(PrepareOptions::new(model, Precision::Fp16), folder.path().join("net.engine"));
    (options.stages, options.lean, options.verify) = (Some(stages), false, false);
    options
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn total(stage: &trtforge_builder::StageInfo) -> u64 {
    stage.weights_bytes + stage.activation_bytes + stage.boundary_bytes
}

#[test]
fn a_bundle_is_whole_and_gone_when_it_is_replaced() {
    let Some(model) = libraries().then(|| test_data("models/fastestdet_352.onnx")).flatten() else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = staged(&folder, model, Stages::Count(3));
    let outcome = run(&options).unwrap();
    let stages = &outcome.manifest.stages;
    assert_eq!(stages.len(), 3);
    assert_eq!(outcome.manifest.memory.total_bytes, stages.iter().map(total).max().unwrap());
    for stage in stages {
        assert_eq!(digest::of_file(&folder.path().join(&stage.file)).unwrap(), stage.sha256);
    }
    let bundle = std::fs::read(&options.output).unwrap();
    assert!(bundle.starts_with(b"{\"trtforge_bundle\""));
    assert_eq!(digest::of_bytes(&bundle), outcome.manifest.engine.sha256);
    assert_eq!(files(folder.path()).len(), 5, "the bundle, its manifest and three stages");
    assert!(run(&options).unwrap().up_to_date);

    let damaged = folder.path().join(&stages[1].file);
    std::fs::write(&damaged, b"no engine").unwrap();
    assert!(!run(&options).unwrap().up_to_date, "a stage file that was altered is built again");
    assert_ne!(std::fs::read(&damaged).unwrap_or_default(), b"no engine");

    let whole = run(&BuildOptions { stages: None, ..options.clone() }).unwrap();
    assert!(whole.manifest.stages.is_empty());
    assert_eq!(files(folder.path()), ["net.engine", "net.engine.json"]);
    assert!(outcome.manifest.memory.total_bytes < whole.manifest.memory.total_bytes);
    assert_eq!(Manifest::read(&Manifest::path_for(&options.output)).unwrap(), whole.manifest);
}

#[test]
fn a_budget_that_one_engine_passes_is_kept_in_stages_or_refused() {
    let Some(model) = libraries().then(|| test_data("models/yolox_nano_416.onnx")).flatten() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut options = staged(&folder, model, Stages::Auto);
    options.stages = None;
    let whole = run(&options).unwrap().manifest.memory.total_bytes;
    let budget = whole - whole / 20;
    options.memory_budget = Some(budget.to_string().parse::<ByteSize>().unwrap());
    let outcome = run(&options).unwrap();
    assert!(outcome.manifest.stages.len() > 1);
    assert!(outcome.manifest.memory.total_bytes <= budget);
    options.memory_budget = Some("1MiB".parse::<ByteSize>().unwrap());
    assert!(matches!(run(&options), Err(Error::MemoryBudget(_))));
    assert!(options.output.exists(), "what was built before stays");
}

#[test]
fn more_stages_than_places_to_cut_are_refused_with_the_most_there_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = libraries().then(|| mnist(&folder, Precision::Fp32)).flatten() else { return };
    (options.stages, options.lean) = (Some(Stages::Count(1000)), false);
    let Err(error @ Error::Stages { asked: 1000, most, .. }) = run(&options) else { panic!("there are not as many") };
    assert!(most > 1, "{error}");
    assert!(error.hint().unwrap().contains(&format!("--stages {most}")));
    assert!(files(folder.path()).is_empty());
}

/// Hears of steps.
#[derive(Default)]
struct Steps(Mutex<Vec<String>>);

impl Progress for Steps {
    fn step(&self, name: &str) {
        self.0.lock().unwrap().push(name.to_owned());
    }
}

#[test]
fn a_form_is_searched_for_once_and_serves_other_processes_and_batches() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    generate(&Options { batch: Batch::Dynamic, ..Options::new(Variant::Ns) }).unwrap().write(&model).unwrap();
    let measured = |batch: u64, stages: usize| {
        let mut prepare = PrepareOptions::new(&model, Precision::Fp16);
        prepare.batch = Some(batch);
        let mut options = BuildOptions::new(prepare, "");
        options.stages = Some(Stages::Count(stages));
        options.forms = Arc::new(FormMemory::in_folder(folder.path().join("forms")));
        let steps = Arc::new(Steps::default());
        let progress: Arc<dyn Progress> = Arc::clone(&steps) as _;
        let measured = measure(&options, None, &progress, &CancelFlag::default()).unwrap();
        let searches = steps.0.lock().unwrap().iter().filter(|step| step.starts_with("form")).cloned().collect();
        (measured, searches)
    };
    let (first, searches): (_, Vec<String>) = measured(1, 2);
    assert_eq!(searches, ["form", "form for stages"]);
    let (again, searches) = measured(1, 2);
    assert_eq!((again, searches.len()), (first.clone(), 0));
    let (more, searches) = measured(2, 2);
    assert_eq!(searches.len(), 0, "one search serves all batches");
    assert!(more.memory.total_bytes > first.memory.total_bytes);
    let most = first.stages.iter().map(SegmentMemory::total_bytes).max();
    assert_eq!((first.stages.len(), most), (2, Some(first.memory.total_bytes)));
}

/// What goes from stage to stage lies as convolutions read it; what comes from outside and goes there lies as files hold it.
#[test]
fn values_between_engines_lie_as_convolutions_read_them() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    generate(&Options::new(Variant::Ns)).unwrap().write(&model).unwrap();
    for precision in [Precision::Fp16, Precision::Int8] {
        let mut options = BuildOptions::new(PrepareOptions::new(&model, precision), folder.path().join("net.engine"));
        (options.stages, options.lean, options.verify) = (Some(Stages::Count(3)), false, false);
        (options.prepare.int8.search, options.prepare.sample_count) = (false, Some(1));
        run(&options).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&options.output).unwrap()).unwrap();
        let mut formats: HashMap<String, (String, u64)> = HashMap::new();
        for stage in written["stages"].as_array().unwrap() {
            let tensors = |key: &str| stage[key].as_array().unwrap().clone();
            for tensor in tensors("inputs").into_iter().chain(tensors("outputs")) {
                let name = tensor["name"].as_str().unwrap().to_owned();
                let channels = tensor["dimensions"][1].as_u64().unwrap_or_default();
                let told = tensor["format"].as_str().unwrap_or("linear");
                let format = format!("{} {told}", tensor["element"].as_str().unwrap());
                assert_eq!(formats.entry(name).or_insert((format.clone(), channels)).0, format);
            }
        }
        for end in ["images", "scores", "boxes"] {
            assert_eq!(formats.remove(end).unwrap().0, "float32 linear");
        }
        assert!(formats.len() > 1, "{formats:?}");
        for (name, (format, channels)) in formats {
            let expected: &[&str] = match channels % 16 {
                0 => &["float16 hwc", "int8 hwc16"],
                _ => &["float16 hwc", "int8 linear"],
            };
            assert!(expected.contains(&format.as_str()), "{name} of {channels} channels: {format}");
        }
    }
}

/// ONNX Runtime holds what a file holds, whatever an engine of it would: what a bundle says of its models is what a budget is held against.
#[test]
fn models_of_stages_weigh_what_their_bundle_says() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (model, bundle) = (folder.path().join("model.onnx"), folder.path().join("stages.onnx"));
    generate(&Options::new(Variant::Ns)).unwrap().write(&model).unwrap();
    let check = |made: &str| {
        let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
        let stages = written["stages"].as_array().unwrap();
        assert_eq!(stages.len(), 3);
        for stage in stages {
            let file = folder.path().join(stage["file"].as_str().unwrap());
            assert_eq!(stage["weights_bytes"], Model::read(&file).unwrap().weights_bytes(), "{made}");
        }
    };
    for precision in [Precision::Fp32, Precision::Fp16, Precision::Int8] {
        let mut options = BuildOptions::new(PrepareOptions::new(&model, precision), "");
        (options.stages, options.lean) = (Some(Stages::Count(3)), false);
        let progress: Arc<dyn Progress> = Arc::new(());
        let laid_out = lay_out(&options, &progress, &CancelFlag::default()).unwrap();
        laid_out.write_model(&bundle).unwrap();
        check(&format!("{precision}, built"));
    }
    let options = PrepareOptions::new(&model, Precision::Fp16);
    quantize(&options, Some(3), &bundle, &(), &CancelFlag::default()).unwrap();
    check("rewritten only");
}

/// A network without its plugins and in the given precision, ready to be cut.
fn divisible(runtime: &OnnxRuntime, model: PathBuf, precision: Precision) -> (Model, Divisible) {
    let mut options = PrepareOptions::new(model, precision);
    (options.int8.search, options.sample_count) = (false, Some(2));
    let model = prepare(&options, &(), &CancelFlag::default()).unwrap().model;
    let mut graph = Graph::new(model.clone()).unwrap();
    graph.set_types(runtime.infer_types(&model).unwrap());
    let shapes = resolve_shapes(&model, &ShapeRequest::default(), None).unwrap();
    (model, Divisible::new(graph, &shapes))
}

/// TensorRT-RTX 1.7.1 crashes on a network that returns a concatenation of which it reads a part as well.
#[test]
fn no_stage_returns_a_concatenation_whose_parts_are_read() {
    if !libraries() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    generate(&Options::new(Variant::T)).unwrap().write(&path).unwrap();
    let (model, network) = divisible(&OnnxRuntime::load().unwrap(), path, Precision::Fp32);
    let graph = Graph::new(model).unwrap();
    let joins_what_is_read = |name: &str| {
        let concat = graph.producer(graph.value_id(name).unwrap()).filter(|&node| graph.op_type(node) == "Concat");
        let mut parts = concat.into_iter().flat_map(|node| graph.inputs(node).iter().flatten());
        parts.any(|&part| graph.value(part).consumers.len() > 1)
    };
    assert!(graph.value_ids().any(|value| joins_what_is_read(&graph.value(value).name)), "there are such");
    for count in [2, 3, 4, 8, 16, 32] {
        for segment in network.cut(count).unwrap() {
            let refused = segment.outputs.iter().find(|output| joins_what_is_read(&output.name));
            assert!(refused.is_none(), "{count} stages: {refused:?}");
        }
    }
}

fn as_written() -> SessionConfig {
    SessionConfig { optimization: Optimization::Disabled, ..SessionConfig::default() }
}

fn run_all(runtime: &OnnxRuntime, segments: &[Segment], input: (&str, &Tensor)) -> HashMap<String, Tensor> {
    let mut values = HashMap::from([(input.0.to_owned(), input.1.clone())]);
    for segment in segments {
        let mut session = runtime.session(&segment.model, &as_written()).unwrap();
        let inputs: Vec<(&str, &Tensor)> =
            segment.inputs.iter().map(|tensor| (tensor.name.as_str(), &values[&tensor.name])).collect();
        let made = session.run(&inputs, None).unwrap();
        values.extend(made);
    }
    values
}

/// Signal against difference in decibel.
fn sqnr_db(expected: &Tensor, actual: &Tensor) -> f64 {
    let values = |tensor: &Tensor| -> Vec<f64> {
        tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into()).collect()
    };
    let (expected, actual) = (values(expected), values(actual));
    let signal: f64 = expected.iter().map(|value| value * value).sum();
    let noise: f64 = expected.iter().zip(&actual).map(|(expected, actual)| (expected - actual).powi(2)).sum();
    10.0 * (signal / noise).log10()
}

/// In 32 bits to the bit. ONNX Runtime computes half precision on a CPU in 32 bits from end to end, so there a cut rounds where the whole does not;
/// in INT8 what is rounded otherwise may fall into the next step.
#[test]
fn segments_compute_what_the_whole_does() {
    let Some(path) = libraries().then(|| test_data("models/yolox_nano_416.onnx")).flatten() else { return };
    let runtime = OnnxRuntime::load().unwrap();
    let pixels = (0..3 * 416 * 416u64).map(|index| ((index * 7919) % 251) as f32).collect();
    let image = Tensor::from_vec::<f32>(vec![1, 3, 416, 416], pixels).unwrap();
    for (precision, least_db) in [(Precision::Fp32, f64::INFINITY), (Precision::Fp16, 40.0), (Precision::Int8, 12.0)] {
        let (model, network) = divisible(&runtime, path.clone(), precision);
        let whole = runtime.session(&model, &as_written()).unwrap().run(&[("images", &image)], None).unwrap();
        for count in [2, 3, 5, 8] {
            let segments = network.cut(count).unwrap();
            assert_eq!(segments.len(), count);
            let cut = run_all(&runtime, &segments, ("images", &image));
            for (name, expected) in &whole {
                let db = sqnr_db(expected, &cut[name]);
                assert!(db >= least_db, "{precision} in {count} stages: {name} {db:.1} dB");
            }
        }
    }
}
