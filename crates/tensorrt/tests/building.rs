//! Real engines from real models, with the real library.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::onnx::{self, FLOAT, FLOAT16, Graph, int_attribute, node, value};
use support::{model, ready, tensorrt};
use trtforge_tensorrt::{
    BuilderFlag, Built, DataType, Error, Flow, MemoryPool, ProfileFault, ProfilingVerbosity, ProgressEvent,
    TensorFormat,
};

const WORKSPACE: u64 = 512 << 20;

/// Checks an engine and what was told of it.
fn check(built: &Built) {
    assert!(built.engine.len() > 1000, "{} bytes", built.engine.len());
    if cfg!(not(feature = "enterprise")) {
        assert_eq!(&built.engine[..4], b"vtrt", "the mark of an engine");
    }
    let memory = built.report.memory;
    assert!(memory.activation_bytes.is_some_and(|it| it > 0), "{memory:?}");
    assert!(memory.weights_bytes.is_some_and(|it| it > 0), "{memory:?}");
    assert!(memory.scratch_bytes.is_some(), "{memory:?}");
    assert!(!built.report.log.is_empty());
}

#[test]
fn fixed_shapes() {
    let Some(tensorrt) = tensorrt() else { return };
    for name in ["mnist_winml.onnx", "yolox_nano_416.onnx"] {
        let Some(bytes) = model(name) else { return };
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        config.set_memory_pool_limit(MemoryPool::Workspace, WORKSPACE).expect("a limit");
        assert_eq!(config.memory_pool_limit(MemoryPool::Workspace), WORKSPACE);
        check(&builder.build(&mut network, &mut config).expect("an engine"));
    }
}

#[test]
fn elements_lie_in_the_order_asked_for() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("superres_10.onnx") else { return };
    let built = |format: Option<TensorFormat>| {
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        let input = network.inputs().remove(0);
        let shape: Vec<i64> = input.dimensions.iter().map(|&it| if it == -1 { 1 } else { it }).collect();
        let mut profile = builder.profile().expect("a profile");
        profile.set_shape(&input.name, &shape, &shape, &shape).expect("shapes in order");
        config.add_profile(profile).expect("a profile that fits");
        if let Some(format) = format {
            network.set_format(&input.name, format).expect("an input");
        }
        builder.build(&mut network, &mut config)
    };
    let plain = built(None).expect("an engine");
    let linear = built(Some(TensorFormat::Linear)).expect("an engine");
    assert_eq!(plain.engine.len(), linear.engine.len(), "linear is what TensorRT takes unasked");
    let channels_last = built(Some(TensorFormat::Hwc)).expect("an engine");
    assert_ne!(plain.engine.len(), channels_last.engine.len());
    let error = built(Some(TensorFormat::Hwc16)).expect_err("no format of 32-bit floating point");
    assert!(matches!(error, Error::Build { .. }), "{error:?}");
    let (_, mut network, _) = ready(tensorrt, &bytes);
    let error = network.set_format("nothing", TensorFormat::Hwc).expect_err("no such tensor");
    assert!(matches!(&error, Error::NoSuchTensor { tensors, .. } if tensors.len() == 2), "{error:?}");
}

#[test]
fn open_height_and_width_need_a_profile_and_use_it() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("ppocr_v3_det.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let input = network.inputs().remove(0);
    assert!(input.is_dynamic(), "{input}");
    let error = builder.build(&mut network, &mut config).expect_err("no profile");
    assert!(matches!(error, Error::Profile { fault: ProfileFault::NoProfile, .. }), "{error}");
    let mut profile = builder.profile().expect("a profile");
    profile.set_shape(&input.name, &[1, 3, 64, 64], &[1, 3, 320, 320], &[1, 3, 640, 640]).expect("shapes in order");
    config.add_profile(profile).expect("a profile that fits");
    check(&builder.build(&mut network, &mut config).expect("an engine"));
}

#[test]
fn open_batch_of_several_profiles() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("superres_10.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let input = network.inputs().remove(0);
    let shape =
        |batch: i64| -> Vec<i64> { input.dimensions.iter().map(|&it| if it == -1 { batch } else { it }).collect() };
    for (least, most) in [(1, 2), (4, 8)] {
        let mut profile = builder.profile().expect("a profile");
        profile.set_shape(&input.name, &shape(least), &shape(most), &shape(most)).expect("shapes in order");
        config.add_profile(profile).expect("a profile that fits");
    }
    assert_eq!(config.profiles().len(), 2);
    let built = builder.build(&mut network, &mut config).expect("an engine");
    check(&built);
    let by_profile = &built.report.activation_bytes_by_profile;
    assert_eq!(by_profile.len(), 2);
    assert!(by_profile[0] < by_profile[1], "{by_profile:?}");
    assert_eq!(built.report.memory.activation_bytes, by_profile.iter().max().copied());
}

/// `y = cast(relu(cast(x) * w))` with the middle in half precision.
fn half_precision_model() -> Vec<u8> {
    let weight = [0x00_u8, 0x3c].repeat(64 * 64);
    Graph {
        nodes: vec![
            with_type(node("Cast", "down", &["x"], &["xh"]), FLOAT16),
            node("MatMul", "mul", &["xh", "w"], &["p"]),
            node("Relu", "relu", &["p"], &["r"]),
            with_type(node("Cast", "up", &["r"], &["y"]), FLOAT),
        ],
        initializers: vec![onnx::initializer("w", FLOAT16, &[64, 64], &weight)],
        inputs: vec![value("x", FLOAT, &[4, 64])],
        outputs: vec![value("y", FLOAT, &[4, 64])],
    }
    .model()
}

fn with_type(cast: onnx::Message, element: i64) -> onnx::Message {
    cast.message(5, &int_attribute("to", element))
}

#[test]
fn half_precision_comes_from_the_model() {
    let Some(tensorrt) = tensorrt() else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &half_precision_model());
    assert!(network.precision().iter().any(|(it, count)| *it == DataType::Float16 && *count > 0));
    let outputs = network.outputs();
    assert_eq!(outputs[0].data_type, DataType::Float32);
    assert_eq!(outputs[0].to_string(), "y: float32[4,64]");
    let built = builder.build(&mut network, &mut config).expect("an engine");
    let weights = built.report.memory.weights_bytes.expect("a figure");
    assert!((64 * 64 * 2..64 * 64 * 4).contains(&weights), "{weights}");
}

#[test]
fn the_same_network_builds_again_with_other_settings() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    check(&builder.build(&mut network, &mut config).expect("an engine"));
    config.set_flag(BuilderFlag::StripPlan, true).expect("a flag");
    assert!(config.flag(BuilderFlag::StripPlan));
    config.set_flag(BuilderFlag::StripPlan, false).expect("a flag");
    config.set_flag(BuilderFlag::Tf32, false).expect("a flag");
    config.set_profiling_verbosity(ProfilingVerbosity::Detailed);
    config.set_optimization_level(2).expect("a level");
    config.set_max_auxiliary_streams(0).expect("a number of streams");
    builder.set_max_threads(1).expect("a number of threads");
    check(&builder.build(&mut network, &mut config).expect("an engine"));
}

#[cfg(not(feature = "enterprise"))]
#[test]
fn a_workspace_that_is_too_small_is_told_and_fewer_streams_need_less() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("yolox_nano_416.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let free = builder.build(&mut network, &mut config).expect("an engine").report.memory;
    for (limit, told) in [(1 << 20, false), (16 << 20, true)] {
        config.set_memory_pool_limit(MemoryPool::Workspace, limit).expect("a limit");
        let error = builder.build(&mut network, &mut config).expect_err("too little space");
        let Error::OutOfWorkspace { limit_bytes, requested_bytes, log } = &error else { panic!("{error:?}") };
        assert_eq!(*limit_bytes, limit);
        assert_eq!(requested_bytes.is_some_and(|it| it > limit), told, "{error}");
        assert!(!log.is_empty() && error.hint().is_some());
    }
    config.set_max_auxiliary_streams(0).expect("a number of streams");
    let narrow = builder.build(&mut network, &mut config).expect("an engine in 16 MiB").report.memory;
    assert!(narrow.activation_bytes < free.activation_bytes, "{narrow:?} {free:?}");
    assert!(narrow.scratch_bytes.is_some_and(|it| it <= 16 << 20), "{narrow:?}");
}

#[test]
fn progress_is_told_and_can_end_the_build() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("yolox_nano_416.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let steps = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&steps);
    let watch = move |event: ProgressEvent<'_>| {
        if matches!(event, ProgressEvent::Step { .. }) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
        Flow::Continue
    };
    config.set_progress(Box::new(watch)).expect("a monitor");
    check(&builder.build(&mut network, &mut config).expect("an engine"));
    assert!(steps.load(Ordering::Relaxed) > 0, "no step was told");
    config.set_progress(Box::new(|_: ProgressEvent<'_>| Flow::Cancel)).expect("a monitor");
    let error = builder.build(&mut network, &mut config).expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    let panicking = |_: ProgressEvent<'_>| -> Flow { panic!("a receiver that fails") };
    config.set_progress(Box::new(panicking)).expect("a monitor");
    let error = builder.build(&mut network, &mut config).expect_err("a panic");
    assert!(matches!(&error, Error::ProgressPanicked { message } if message.contains("fails")));
    config.set_progress(Box::new(|_: ProgressEvent<'_>| Flow::Continue)).expect("a monitor");
    check(&builder.build(&mut network, &mut config).expect("an engine after all that"));
}

#[test]
fn a_listener_hears_the_log_and_may_panic() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&lines);
    builder.listen(move |line| {
        heard.lock().expect("no panic while locked").push(line.clone());
        panic!("a listener that fails");
    });
    let built = builder.build(&mut network, &mut config).expect("an engine");
    check(&built);
    assert_eq!(*lines.lock().expect("no panic while locked"), built.report.log);
}

#[test]
fn several_threads_build_at_once_and_keep_their_logs_apart() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("yolox_nano_416.onnx") else { return };
    let reports: Vec<_> = std::thread::scope(|scope| {
        let build = || {
            let (builder, mut network, mut config) = ready(tensorrt, &bytes);
            let built = builder.build(&mut network, &mut config).expect("an engine");
            check(&built);
            built.report.log.iter().filter(|it| it.text.contains("Total Weights Memory")).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(build)).collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).collect()
    });
    assert_eq!(reports, [1; 4]);
}

#[cfg(not(feature = "enterprise"))]
#[test]
fn builds_for_different_targets_do_not_disturb_each_other() {
    use trtforge_tensorrt::ComputeCapability;
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let build = |target: ComputeCapability| {
        for _ in 0..4 {
            let (builder, mut network, mut config) = ready(tensorrt, &bytes);
            config.set_compute_capabilities(&[target]).expect("a target");
            check(&builder.build(&mut network, &mut config).expect("an engine"));
        }
    };
    std::thread::scope(|scope| {
        for target in &ComputeCapability::ALL[1..] {
            scope.spawn(|| build(*target));
        }
    });
}

#[test]
fn a_build_does_not_start_within_a_build() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let (builder, mut network, mut config) = ready(tensorrt, &bytes);
    let inner = bytes.clone();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let nested = move |_: ProgressEvent<'_>| {
        let (builder, mut network, mut config) = ready(tensorrt, &inner);
        if let Err(Error::NestedBuild) = builder.build(&mut network, &mut config) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Flow::Cancel
    };
    config.set_progress(Box::new(nested)).expect("a monitor");
    let error = builder.build(&mut network, &mut config).expect_err("cancelled");
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!(refused.load(Ordering::Relaxed), 1);
}
