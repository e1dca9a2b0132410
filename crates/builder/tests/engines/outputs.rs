//! What a build leaves behind: everything, or nothing.

use crate::{libraries, mnist, run, test_data};
use std::path::Path;
use std::sync::Arc;
use trtforge_builder::{
    BuildOptions, ByteSize, CancelFlag, Error, Manifest, OutputLock, Precision, PrepareOptions, Progress, Stage, build,
    digest,
};

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn engine_and_manifest_describe_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    let outcome = run(&options).unwrap();
    assert_eq!(files(folder.path()), ["mnist.engine", "mnist.engine.json"]);
    let manifest = Manifest::read(&Manifest::path_for(&options.output)).unwrap();
    assert_eq!(manifest, outcome.manifest);
    assert_eq!(manifest.engine.sha256, digest::of_file(&options.output).unwrap());
    assert_eq!(manifest.model.sha256, digest::of_file(&options.prepare.model).unwrap());
    for stage in
        [Stage::Read, Stage::Simplify, Stage::Convert, Stage::Verify, Stage::Parse, Stage::Compile, Stage::Write]
    {
        assert!(manifest.timings_ms.contains_key(stage.name()), "{stage} has no time");
    }
}

#[test]
fn nothing_changed_means_nothing_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp32).filter(|_| libraries()) else { return };
    assert!(!run(&options).unwrap().up_to_date);
    assert!(run(&options).unwrap().up_to_date);
    options.workspace = ByteSize::new(1 << 28);
    assert!(!run(&options).unwrap().up_to_date, "another workspace is another build");
    std::fs::write(&options.output, b"damaged").unwrap();
    assert!(!run(&options).unwrap().up_to_date, "a damaged engine is built again");
    options.force = true;
    assert!(!run(&options).unwrap().up_to_date);
}

#[test]
fn a_cancelled_build_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    run(&options).unwrap();
    let before = std::fs::read(&options.output).unwrap();
    options.force = true;
    struct CancelAtCompile(CancelFlag);
    impl Progress for CancelAtCompile {
        fn step(&self, name: &str) {
            if name == Stage::Compile.name() {
                self.0.cancel();
            }
        }
    }
    let cancel = CancelFlag::default();
    let progress: Arc<dyn Progress> = Arc::new(CancelAtCompile(cancel.clone()));
    assert!(matches!(build(&options, &progress, &cancel), Err(Error::Cancelled)));
    assert_eq!(std::fs::read(&options.output).unwrap(), before);
    assert_eq!(files(folder.path()), ["mnist.engine", "mnist.engine.json"]);
}

#[test]
fn two_builds_of_one_output_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = mnist(&folder, Precision::Fp32).filter(|_| libraries()) else { return };
    let lock = OutputLock::acquire(&options.output).unwrap();
    assert!(matches!(run(&options), Err(Error::Busy { .. })));
    drop(lock);
    run(&options).unwrap();
}

#[test]
fn a_budget_that_does_not_fit_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp32).filter(|_| libraries()) else { return };
    options.memory_budget = ByteSize::new(1000);
    assert!(matches!(run(&options), Err(Error::MemoryBudget(miss)) if miss.budget_bytes == 1000));
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn a_floor_out_of_reach_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    options.accuracy_floor = Some("sqnr_db=500".parse().unwrap());
    assert!(matches!(run(&options), Err(Error::AccuracyFloor(_))));
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[test]
fn the_emitted_model_builds_to_the_same_memory() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    let emitted = folder.path().join("half.onnx");
    options.emit_onnx = Some(emitted.clone());
    let first = run(&options).unwrap();
    let second =
        run(&BuildOptions::new(PrepareOptions::new(emitted, Precision::Fp32), folder.path().join("again.engine")))
            .unwrap();
    assert_eq!(first.manifest.memory.activation_bytes, second.manifest.memory.activation_bytes);
    assert_eq!(first.manifest.memory.weights_bytes, second.manifest.memory.weights_bytes);
}

#[test]
fn a_workspace_too_small_fails_with_the_figures() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp32).filter(|_| libraries()) else { return };
    options.workspace = ByteSize::new(1 << 20);
    let Err(Error::Workspace { need, limit }) = run(&options) else { panic!("a megabyte was enough") };
    assert!(need > limit && limit == 1 << 20, "{need} {limit}");
    assert_eq!(files(folder.path()), Vec::<String>::new());
    options.workspace = ByteSize::new(need + need / 50);
    assert!(run(&options).unwrap().manifest.memory.scratch_bytes <= need + need / 50);
}

#[test]
fn auxiliary_streams_are_given_up_where_they_do_not_fit() {
    let Some(model) = test_data("models/fastestdet_352.onnx").filter(|_| libraries()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut options = BuildOptions::new(PrepareOptions::new(model, Precision::Fp32), folder.path().join("a.engine"));
    options.verify = false;
    let lean = run(&options).unwrap().manifest;
    options.auxiliary_streams = 7;
    let wide = run(&options).unwrap().manifest;
    assert!(wide.memory.activation_bytes > lean.memory.activation_bytes && wide.auxiliary_streams == 7);
    options.workspace = ByteSize::new((lean.memory.scratch_bytes + wide.memory.scratch_bytes) / 2);
    let fitted = run(&options).unwrap().manifest;
    assert_eq!((fitted.auxiliary_streams, fitted.memory.activation_bytes), (0, lean.memory.activation_bytes));
}

#[test]
fn half_inputs_and_outputs_are_verified_too() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    let wide = run(&options).unwrap().manifest;
    options.prepare.half_io = true;
    let narrow = run(&options).unwrap().manifest;
    assert_eq!(narrow.memory.io_bytes * 2, wide.memory.io_bytes);
    assert!(narrow.accuracy[0].sqnr_db.unwrap() > 40.0, "{:?}", narrow.accuracy);
}

#[test]
fn nothing_that_is_read_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut options) = mnist(&folder, Precision::Fp16).filter(|_| libraries()) else { return };
    let model = folder.path().join("model.onnx");
    std::fs::copy(&options.prepare.model, &model).unwrap();
    options.prepare.model = model.clone();
    options.output = model.clone();
    assert!(matches!(run(&options), Err(Error::Usage(_))));
    options.output = folder.path().join("a.engine");
    options.emit_onnx = Some(folder.path().join("./a.engine"));
    assert!(matches!(run(&options), Err(Error::Usage(_))));
    let quantized = trtforge_builder::quantize(&options.prepare, None, &model, &(), &CancelFlag::default());
    assert!(matches!(quantized, Err(Error::Usage(_))));
    assert_eq!(files(folder.path()), ["model.onnx"]);
}
