//! Bad input: every refusal is a typed error with what a person needs, and nothing crashes.

mod support;

use std::path::Path;

use bytes::Bytes;
use support::onnx::{self, FLOAT, Graph, matrix_chain, node, value};
use support::{model, ready, tensorrt};
use trtforge_tensorrt::{DiagnosticCode, Error, MemoryPool, Network, ProfileFault, Severity, TensorRt, Weights};

/// The error that parsing `model` gives.
fn parse_error(tensorrt: TensorRt, model: &[u8]) -> Error {
    let builder = tensorrt.builder().expect("a builder");
    let mut network = builder.network().expect("a network");
    let error = network.parse_onnx(model, None).expect_err("a bad model");
    let mut config = builder.config().expect("a configuration");
    let after = builder.build(&mut network, &mut config).expect_err("nothing to build");
    assert!(matches!(after, Error::NetworkEmpty), "{after:?}");
    error
}

#[test]
fn an_unknown_operator_is_named_with_its_node() {
    let Some(tensorrt) = tensorrt() else { return };
    let graph = Graph {
        nodes: vec![node("Frobnicate", "odd one", &["x"], &["y"])],
        inputs: vec![value("x", FLOAT, &[2, 3])],
        outputs: vec![value("y", FLOAT, &[2, 3])],
        ..Graph::default()
    };
    let error = parse_error(tensorrt, &graph.model());
    let Error::Parse { diagnostics, log } = &error else { panic!("{error:?}") };
    let first = &diagnostics[0];
    assert_eq!(first.node.as_deref(), Some("odd one"), "{diagnostics:?}");
    assert_eq!(first.operator.as_deref(), Some("Frobnicate"));
    assert_eq!(first.index, Some(0));
    assert_eq!(first.code, DiagnosticCode::UnsupportedOperator, "{first:?}");
    assert!(error.to_string().contains("node `odd one` (Frobnicate)"), "{error}");
    assert!(log.iter().any(|line| line.severity == Severity::Error));
}

#[test]
fn what_is_no_model_is_refused_cleanly() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    for (what, bytes) in [
        ("nothing", &[][..]),
        ("zeros", &[0; 100]),
        ("text", b"this is not a model at all"),
        ("a truncated model", &bytes[..bytes.len() / 2]),
        ("a model without its last byte", &bytes[..bytes.len() - 1]),
        ("a model without its first byte", &bytes[1..]),
    ] {
        let error = parse_error(tensorrt, bytes);
        let Error::Parse { diagnostics, log } = &error else { panic!("{what}: {error:?}") };
        assert!(!diagnostics.is_empty() || !log.is_empty(), "{what}: {error:?}");
    }
}

#[test]
fn a_graph_that_cannot_be_is_refused_cleanly() {
    let Some(tensorrt) = tensorrt() else { return };
    let (x, y) = (value("x", FLOAT, &[2, 3]), value("y", FLOAT, &[2, 3]));
    let graph = |nodes| Graph { nodes, inputs: vec![x.clone()], outputs: vec![y.clone()], ..Graph::default() };
    for (what, graph) in [
        ("no nodes", graph(vec![])),
        ("dangling input", graph(vec![node("Add", "add", &["x", "z"], &["y"])])),
        (
            "cycle",
            graph(vec![
                node("Add", "a", &["x", "q"], &["p"]),
                node("Relu", "b", &["p"], &["q"]),
                node("Relu", "c", &["q"], &["y"]),
            ]),
        ),
        ("too few inputs", graph(vec![node("Conv", "conv", &["x"], &["y"])])),
    ] {
        let error = parse_error(tensorrt, &graph.model());
        assert!(matches!(error, Error::Parse { .. }), "{what}: {error:?}");
    }
}

#[test]
fn a_network_takes_one_model() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let (_builder, mut network, _config) = ready(tensorrt, &bytes);
    let error = network.parse_onnx(&bytes, None).expect_err("a second model");
    assert!(matches!(error, Error::NetworkFilled), "{error:?}");
}

#[test]
fn objects_of_two_builders_do_not_mix() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let (other, mut others_network, mut others_config) = ready(tensorrt, &bytes);
    for error in [
        builder.build(&mut others_network, &mut config).expect_err("another's network"),
        builder.build(&mut network, &mut others_config).expect_err("another's configuration"),
        config.add_profile(other.profile().expect("a profile")).expect_err("another's profile"),
    ] {
        assert!(matches!(error, Error::OtherBuilder { .. }), "{error:?}");
    }
}

#[test]
fn an_empty_workspace_is_refused_and_changes_nothing() {
    let Some(tensorrt) = tensorrt() else { return };
    let mut config = tensorrt.builder().expect("a builder").config().expect("a configuration");
    let before = config.memory_pool_limit(MemoryPool::Workspace);
    let error = config.set_memory_pool_limit(MemoryPool::Workspace, 0).expect_err("no space");
    assert!(matches!(error, Error::EmptyPool { pool: MemoryPool::Workspace }), "{error:?}");
    assert!(error.hint().is_some());
    assert_eq!(config.memory_pool_limit(MemoryPool::Workspace), before);
    for bytes in [1, 1 << 20, u64::from(u32::MAX) + 1] {
        config.set_memory_pool_limit(MemoryPool::Workspace, bytes).expect("a limit");
    }
    let outcome = config.set_memory_pool_limit(MemoryPool::TacticSharedMemory, u64::MAX);
    let error = outcome.expect_err("more shared memory than any GPU has");
    assert!(matches!(error, Error::PoolLimit { bytes: u64::MAX, .. }), "{error:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let Some(tensorrt) = tensorrt() else { return };
    let builder = tensorrt.builder().expect("a builder");
    let mut config = builder.config().expect("a configuration");
    let refused =
        [builder.set_max_threads(0), config.set_optimization_level(6), config.set_optimization_level(u32::MAX)];
    for outcome in refused {
        let error = outcome.expect_err("out of range");
        assert!(matches!(error, Error::Setting { .. }), "{error:?}");
    }
}

#[test]
fn profiles_that_do_not_fit_are_refused_with_input_and_dimension() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("superres_10.onnx") else { return };
    let fault = |name: &str, shape: &[i64]| {
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        let name = if name.is_empty() { network.inputs()[0].name.clone() } else { name.to_owned() };
        let mut profile = builder.profile().expect("a profile");
        profile.set_shape(&name, shape, shape, shape).expect("shapes in order");
        config.add_profile(profile).expect("TensorRT takes it");
        match builder.build(&mut network, &mut config).expect_err("a profile that does not fit") {
            Error::Profile { fault, .. } => fault,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(fault("nobody", &[1]), ProfileFault::NoSuchInput { .. }));
    assert!(matches!(fault("", &[1, 1]), ProfileFault::Rank { .. }));
    assert!(matches!(fault("", &[1, 9, 224, 224]), ProfileFault::FixedDimension { axis: 1, .. }));
}

#[test]
fn shapes_out_of_order_are_refused_at_once() {
    let Some(tensorrt) = tensorrt() else { return };
    let builder = tensorrt.builder().expect("a builder");
    let mut profile = builder.profile().expect("a profile");
    let fault = |outcome: Result<(), Error>| match outcome.expect_err("a bad shape") {
        Error::Profile { fault, .. } => fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(fault(profile.set_shape("x", &[2], &[1], &[3])), ProfileFault::Order { axis: 0, .. }));
    assert!(matches!(fault(profile.set_shape("x", &[1; 9], &[1; 9], &[1; 9])), ProfileFault::TooManyDimensions { .. }));
    assert!(matches!(profile.set_shape("a\0b", &[1], &[1], &[1]), Err(Error::Name { .. })));
    assert!(profile.shapes().is_empty());
    profile.set_shape("x", &[0], &[1], &[1]).expect("an empty minimum is allowed");
}

#[test]
fn targets_are_taken_or_refused_by_name() {
    #[cfg(not(feature = "enterprise"))]
    {
        use trtforge_tensorrt::ComputeCapability;
        let Some(tensorrt) = tensorrt() else { return };
        let Some(bytes) = model("mnist_winml.onnx") else { return };
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        let mut build = |targets: &[ComputeCapability]| {
            config.set_compute_capabilities(targets)?;
            Ok::<usize, Error>(builder.build(&mut network, &mut config)?.engine.len())
        };
        for target in &ComputeCapability::ALL[1..] {
            assert!(build(&[*target]).expect("an engine") > 0);
        }
        build(&[ComputeCapability::Ampere, ComputeCapability::Ada]).expect("an engine for two");
        let turing = build(&[ComputeCapability::Turing]).expect_err("no FP32 products on 7.5");
        assert!(matches!(turing, Error::Build { .. }), "{turing:?}");
        assert!(turing.to_string().contains("SM75"), "{turing}");
        let mixed = build(&[ComputeCapability::Current, ComputeCapability::Ada]);
        assert!(matches!(mixed, Err(Error::Setting { .. })), "{mixed:?}");
        build(&[]).expect("the default after a refusal");
    }
}

fn weights_model(width: i64) -> Graph {
    matrix_chain(3, width, |name| onnx::external_initializer(name, FLOAT, &[width, width], name))
}

fn weights(width: usize) -> Vec<Weights> {
    let data: Vec<u8> = (0..width * width).flat_map(|it| (it as f32 / 1e4).to_le_bytes()).collect();
    let data = Bytes::from(data);
    (0..3).map(|it| Weights { name: format!("w{it}"), data: data.clone() }).collect()
}

fn fill(
    tensorrt: TensorRt,
    model: &[u8],
    weights: Vec<Weights>,
) -> (trtforge_tensorrt::Builder, Network, Result<(), Error>) {
    let builder = tensorrt.builder().expect("a builder");
    let mut network = builder.network().expect("a network");
    let outcome = network.parse_onnx_with_weights(model, weights, None);
    (builder, network, outcome)
}

#[test]
fn weights_beside_the_model_give_the_same_engine_as_inside_it() {
    let Some(tensorrt) = tensorrt() else { return };
    let given = weights(64);
    let inside = matrix_chain(3, 64, |name| onnx::initializer(name, FLOAT, &[64, 64], &given[0].data));
    let build = |builder: &trtforge_tensorrt::Builder, network: &mut Network| {
        let mut config = builder.config().expect("a configuration");
        let mut profile = builder.profile().expect("a profile");
        profile.set_shape("x", &[1, 64], &[2, 64], &[4, 64]).expect("shapes in order");
        config.add_profile(profile).expect("a profile that fits");
        builder.build(network, &mut config).expect("an engine").engine.to_vec()
    };
    let (builder, mut network, _) = ready(tensorrt, &inside.model());
    let expected = build(&builder, &mut network);
    let (builder, mut network, outcome) = fill(tensorrt, &weights_model(64).model(), given);
    outcome.expect("a model with weights beside it");
    let found = build(&builder, &mut network);
    assert_eq!(expected.len(), found.len());
    let differing = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
    // TensorRT's engines differ by a few hundred bytes from build to build; other weights differ by half.
    assert!(differing < found.len() / 20, "{differing} of {} bytes differ", found.len());
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let Some(tensorrt) = tensorrt() else { return };
    let skeleton = weights_model(64).model();
    let mut unknown = weights(64);
    unknown[1].name = "nobody".to_owned();
    let mut short = weights(64);
    short[2].data = short[2].data.slice(..100);
    for (wrong, name) in [(unknown, "nobody"), (short, "w2")] {
        let error = fill(tensorrt, &skeleton, wrong).2.expect_err("weights that do not fit");
        assert!(matches!(&error, Error::Weights { name: it, .. } if it == name), "{error:?}");
    }
    let mut missing = weights(64);
    missing.pop();
    let error = fill(tensorrt, &skeleton, missing).2.expect_err("weights are missing");
    assert!(matches!(error, Error::Parse { .. }), "{error:?}");
}

#[test]
fn paths_with_a_zero_byte_are_refused() {
    let Some(tensorrt) = tensorrt() else { return };
    let builder = tensorrt.builder().expect("a builder");
    let mut network = builder.network().expect("a network");
    let error = network.parse_onnx(&[], Some(Path::new("a\0b"))).expect_err("no such path");
    assert!(matches!(error, Error::Name { .. }), "{error:?}");
}

#[test]
fn external_data_is_found_beside_the_model_and_missed_by_name() {
    let Some(tensorrt) = tensorrt() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    let bytes = weights_model(64).model();
    let parse = || {
        let builder = tensorrt.builder().expect("a builder");
        builder.network().expect("a network").parse_onnx(&bytes, Some(&path))
    };
    let error = parse().expect_err("the data is missing");
    assert!(matches!(error, Error::Parse { .. }), "{error:?}");
    for given in weights(64) {
        std::fs::write(folder.path().join(given.name), &given.data).expect("a file");
    }
    parse().expect("a model with external data");
}
