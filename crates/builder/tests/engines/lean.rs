//! Forms that take less memory, built by the real compiler.

use crate::libraries;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use trtforge_builder::form::{Choice, LeanForm, Search};
use trtforge_builder::int8::Form;
use trtforge_builder::passes::ResolvedShapes;
use trtforge_builder::{CancelFlag, CompileOptions, Error, Progress, Result, Timings, Watch, compile};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Graph, Model, construct};
use trtforge_onnxruntime::{OnnxRuntime, SessionConfig};
use trtforge_tensorrt::TensorRt;

/// Four convolutions from 512x512 down to a tensor that is small: the first two tensors decide what the engine takes.
fn high_resolution() -> Model {
    let mut graph = GraphProto::new();
    graph.set_name("high resolution".into());
    graph.input.push(construct::tensor_value("x", ElementType::Float32, [1, 3, 512, 512]));
    graph.output.push(construct::tensor_value("y", ElementType::Float32, [1, 8, 32, 32]));
    let layers = [(3u64, 24u64, 1i64), (24, 24, 2), (24, 8, 2), (8, 8, 4)];
    let mut last = "x".to_owned();
    for (index, (inputs, outputs, stride)) in layers.into_iter().enumerate() {
        let count = outputs * inputs * 9;
        let values: Vec<f32> = (0..count).map(|i| ((i * 7919 + 13) % 97) as f32 / 97.0 - 0.4).collect();
        let (weight, sum, output) = (format!("w{index}"), format!("c{index}"), format!("r{index}"));
        let output = if index == 3 { "y".to_owned() } else { output };
        graph.initializer.push(construct::tensor(&weight, [outputs, inputs, 3, 3], values));
        graph.node.push(
            construct::node("Conv", &sum, [&last, &weight], [&sum])
                .attr_ints("strides", vec![stride; 2])
                .attr_ints("pads", vec![1; 4]),
        );
        graph.node.push(construct::node("Relu", &output, [&sum], [&output]));
        last = output;
    }
    Model::from_proto(construct::model(graph, 10, 17))
}

fn typed(runtime: &OnnxRuntime, model: &Model) -> Graph {
    let mut graph = Graph::new(model.clone()).unwrap();
    graph.set_types(runtime.infer_types(model).unwrap());
    graph
}

fn bytes(tensorrt: &TensorRt, model: &Model) -> Result<u64> {
    let options = CompileOptions {
        workspace_bytes: 1 << 30,
        auxiliary_streams: 0,
        compute_capabilities: vec![],
        formats: BTreeMap::new(),
    };
    let (progress, cancel): (Arc<dyn Progress>, _) = (Arc::new(()), CancelFlag::default());
    let watch = Watch { progress: &progress, cancel: &cancel };
    let compiled = compile(tensorrt, model, &ResolvedShapes::default(), &options, &mut Timings::default(), &watch)?;
    Ok(compiled.memory.weights_bytes.unwrap_or_else(|| model.weights_bytes())
        + compiled.memory.activation_bytes.unwrap())
}

fn search(network: &Graph, judge: &dyn Fn(&Model) -> Result<u64>) -> Result<Choice> {
    let convert = |graph: Graph, _| Ok(graph.into_model().unwrap());
    Search::new(network, &convert, judge, &(), &CancelFlag::default()).choose()
}

#[test]
fn a_network_of_large_images_takes_less_memory_in_bands() {
    if !libraries() {
        return;
    }
    let (runtime, tensorrt) = (OnnxRuntime::load().unwrap(), TensorRt::load().unwrap());
    let model = high_resolution();
    let network = typed(&runtime, &model);
    let choice = search(&network, &|model| bytes(&tensorrt, model)).unwrap();
    assert!(choice.bytes * 3 < choice.plain_bytes * 2, "{choice:?}");
    assert_eq!(choice.plain_bytes, bytes(&tensorrt, &model).unwrap());
    let mut lean = network.clone();
    assert_eq!(choice.form.band(&mut lean).unwrap(), choice.form.bandings.len());
    let lean = lean.into_model().unwrap();
    assert_eq!(bytes(&tensorrt, &lean).unwrap(), choice.bytes, "the form builds again as it was measured");
    let x: Vec<f32> = (0..3 * 512 * 512).map(|i| ((i * 31 + 7) % 101) as f32 / 101.0).collect();
    let x = trtforge_graph::Tensor::from_vec(vec![1, 3, 512, 512], x).unwrap();
    let run = |model: &Model| {
        let outputs = runtime.session(model, &SessionConfig::default()).unwrap().run(&[("x", &x)], None).unwrap();
        outputs.into_iter().next().unwrap().1.to_vec_f32().unwrap()
    };
    let (expected, actual) = (run(&model), run(&lean));
    let largest = expected.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    assert!(largest > 0.0 && expected.iter().zip(&actual).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
}

/// The search itself, with figures made up: what wins nothing is not chosen, and what cannot be built is passed over.
#[test]
fn what_wins_nothing_is_not_chosen() {
    let Ok(runtime) = OnnxRuntime::load() else { return };
    let network = typed(&runtime, &high_resolution());
    let choice = search(&network, &|_| Ok(1000)).unwrap();
    assert_eq!(choice.form, LeanForm::default());
    let plain_nodes = network.node_count();
    let built = RefCell::new(0);
    let fragile = |model: &Model| {
        *built.borrow_mut() += 1;
        if model.proto().graph.node.len() == plain_nodes {
            Ok(1000)
        } else {
            Err(Error::Usage("does not build".into()))
        }
    };
    assert!(search(&network, &fragile).unwrap().form.is_plain());
    assert!(*built.borrow() > 1);
    assert!(
        search(&network, &|_| Err(Error::Usage("no engine".into()))).is_err(),
        "without the plain form there is nothing"
    );
    assert!(matches!(
        search(&network, &|model| if model.proto().graph.node.len() == plain_nodes {
            Ok(1)
        } else {
            Err(Error::Cancelled)
        }),
        Err(Error::Cancelled)
    ));
}

/// Fewer bands are preferred to a gain of one in a thousand.
#[test]
fn bands_are_few_where_more_win_little() {
    let Ok(runtime) = OnnxRuntime::load() else { return };
    let network = typed(&runtime, &high_resolution());
    let judge = |model: &Model| {
        let nodes = model.proto().graph.node.len() as u64;
        Ok(if nodes == 8 { 100_000 } else { 50_000 - nodes })
    };
    let choice = search(&network, &judge).unwrap();
    assert_eq!(choice.form.bandings.first().map(|banding| banding.bands), Some(2), "{choice:?}");
}

/// Placements with figures made up: one that takes clearly less memory is chosen, one that hardly does is not.
#[test]
fn less_is_quantized_where_that_takes_less_memory() {
    let Ok(runtime) = OnnxRuntime::load() else { return };
    let network = typed(&runtime, &high_resolution());
    let convert = |graph: Graph, placement: Form| {
        let mut model = graph.into_model().unwrap();
        model.proto_mut().set_doc_string(placement.to_string());
        Ok(model)
    };
    let choose = |sums_only: u64| {
        let judge = |model: &Model| {
            Ok(if model.proto().doc_string() == Form::SUMS_ONLY.to_string() { sums_only } else { 1000 })
        };
        Search::new(&network, &convert, &judge, &(), &CancelFlag::default()).choose().unwrap()
    };
    let choice = choose(980);
    assert_eq!(choice.form, LeanForm { placement: Form::SUMS_ONLY, ..LeanForm::default() });
    assert_eq!((choice.bytes, choice.plain_bytes), (980, 1000));
    assert!(!choice.form.is_plain());
    assert_eq!(choose(998).form, LeanForm::default());
    let alike = search(&network, &|_| Ok(1000)).unwrap();
    assert_eq!(alike.builds + 2, choose(998).builds, "a placement that changes nothing is not built");
}
