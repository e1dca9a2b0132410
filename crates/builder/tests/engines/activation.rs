//! The account of activation memory beside what the real compiler takes.

use crate::libraries;
use std::sync::Arc;
use trtforge_builder::activation::{Place, WORKSPACE_BYTES};
use trtforge_builder::{BuildOptions, CancelFlag, Measured, Precision, PrepareOptions, Progress, measure};
use trtforge_zoo::{Options, Variant, generate};

fn measured(variant: Variant, precision: Precision) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    generate(&Options::new(variant)).unwrap().write(&model).unwrap();
    let mut prepare = PrepareOptions::new(model, precision);
    prepare.observe_ranges = false;
    let progress: Arc<dyn Progress> = Arc::new(());
    measure(&BuildOptions::new(prepare, ""), None, &progress, &CancelFlag::default()).unwrap()
}

#[test]
fn a_detector_in_half_precision_is_explained_to_the_byte() {
    if !libraries() {
        return;
    }
    let Measured { memory, activation, .. } = measured(Variant::T, Precision::Fp16);
    assert_eq!(activation.explained_bytes, memory.activation_bytes, "{activation:?}");
    assert_eq!(activation.workspace_bytes, WORKSPACE_BYTES);
    let charged: u64 = activation.charges.iter().map(|charge| charge.charged_bytes).sum();
    assert_eq!(charged, activation.explained_bytes);
    let names = |place: Place| activation.charges.iter().filter(|it| it.place == place).count();
    assert_eq!((names(Place::Workspace), names(Place::Gap)), (1, 1), "{:?}", activation.charges);
    assert!(names(Place::Activation) >= 2 && names(Place::Weights) >= 1, "{:?}", activation.charges);
    let most = activation.moments.iter().map(|moment| moment.tensors_bytes).max();
    assert!(
        most >= Some(activation.tensors_bytes) && most <= Some(activation.bound_bytes.max(activation.tensors_bytes))
    );
    assert_eq!(activation.moments[activation.step].kernel, activation.kernel);
}
