//! The rewrites that save activation memory: structure, cases where they must not fire, and the numbers of before.

mod bands;
mod forms;
mod merging;
mod networks;
mod random_chains;
mod splitting;

use crate::small_model::{numbers, run};
use trtforge_graph::{Graph, Model, Tensor, ValueType};
use trtforge_onnxruntime::OnnxRuntime;

/// The largest difference between two models' outputs, relative to the largest output.
pub fn difference(runtime: &OnnxRuntime, before: &Model, after: &Model, inputs: &[(&str, &Tensor)]) -> f64 {
    let (expected, actual) = (run(runtime, before, inputs), run(runtime, after, inputs));
    assert_eq!(expected.len(), actual.len());
    let worst = expected.iter().map(|(name, expected)| {
        let actual = &actual[name];
        assert_eq!(expected.shape, actual.shape, "{name}");
        let (expected, actual) = (expected.to_vec_f32().unwrap(), actual.to_vec_f32().unwrap());
        assert!(actual.iter().all(|number| number.is_finite()), "{name} is not finite");
        let largest = expected.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
        let apart = expected.iter().zip(&actual).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
        f64::from(apart) / f64::from(largest)
    });
    worst.fold(0.0, f64::max)
}

/// The model of a rewritten graph, whose recorded types must be those that ONNX Runtime finds by itself.
pub fn checked(runtime: &OnnxRuntime, graph: &Graph) -> Model {
    let model = graph.clone().into_model().unwrap();
    trtforge_graph::ensure_valid(&model).unwrap();
    let found = runtime.infer_types(&model).unwrap();
    for value in graph.value_ids().map(|id| graph.value(id)) {
        let (Some(ValueType::Tensor(recorded)), Some(ValueType::Tensor(found))) = (&value.ty, found.get(&value.name))
        else {
            continue;
        };
        assert!(
            recorded.element == found.element && recorded.shape_agrees(found),
            "{}: {recorded:?} {found:?}",
            value.name
        );
    }
    model
}

/// An image of numbers.
pub fn image(channels: u64, height: u64, width: u64) -> Tensor {
    numbers(&[1, channels, height, width])
}
