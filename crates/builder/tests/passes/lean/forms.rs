//! Forms as data, and where a network can be cut.

use super::{checked, difference, image};
use crate::small_model::{numbers, runtime, typed};
use std::path::PathBuf;
use trtforge_builder::form::{Banding, LeanForm, Place, WORKSPACE_BYTES, candidates, estimated_activation};
use trtforge_builder::passes::lean::Reach;
use trtforge_graph::{Model, Tensor};
use trtforge_zoo::{Options, Variant, generate};

fn shape(graph: &trtforge_graph::Graph, name: &str) -> Vec<u64> {
    let value = graph.value(graph.value_id(name).unwrap());
    value.ty.as_ref().unwrap().tensor().unwrap().fixed_shape().unwrap()
}

#[test]
fn the_beginning_of_a_detector_is_cut_where_it_has_become_small() {
    let Some(runtime) = runtime() else { return };
    let model = runtime.optimize(&generate(&Options { size: Some(320), ..Options::new(Variant::S) }).unwrap()).unwrap();
    let graph = typed(&runtime, &model);
    let found = candidates(&graph, Place::Beginning, 4).unwrap();
    assert_eq!(shape(&graph, &found[0].end), [1, 128, 40, 40], "{found:?}");
    let (before, peak) = estimated_activation(&graph);
    assert!(before > WORKSPACE_BYTES && !peak.is_empty());
    let mut cut = graph.clone();
    LeanForm { bandings: vec![found[0].clone()], ..LeanForm::default() }.band(&mut cut).unwrap();
    assert!(estimated_activation(&cut).0 < before);
}

#[test]
fn a_form_is_written_down_and_applied_again() {
    let Some(runtime) = runtime() else { return };
    let model = runtime.optimize(&generate(&Options { size: Some(64), ..Options::new(Variant::T) }).unwrap()).unwrap();
    let graph = typed(&runtime, &model);
    let beginning = candidates(&graph, Place::Beginning, 2).unwrap().swap_remove(0);
    let missing = Banding { end: "no such tensor".into(), reach: Reach::SameHeight, bands: 2 };
    let form = LeanForm {
        merge_siblings: true,
        split_concatenations: true,
        bandings: vec![beginning, missing],
        ..LeanForm::default()
    };
    let again: LeanForm = serde_json::from_str(&serde_json::to_string(&form).unwrap()).unwrap();
    assert_eq!(again, form);
    let mut lean = graph.clone();
    assert!(again.restructure(&mut lean, &()).unwrap() > 0);
    assert_eq!(again.band(&mut lean).unwrap(), 1, "the part that is not there is left out");
    let mut plain = graph.clone();
    assert!(LeanForm::default().is_plain());
    assert_eq!(
        (LeanForm::default().restructure(&mut plain, &()).unwrap(), LeanForm::default().band(&mut plain).unwrap()),
        (0, 0)
    );
    assert_eq!(plain.node_count(), graph.node_count());
    let x = Tensor::from_vec(
        vec![1, 3, 64, 64],
        image(3, 64, 64).to_vec_f32().unwrap().iter().map(|x| (x + 3.0) * 40.0).collect(),
    )
    .unwrap();
    assert!(difference(&runtime, &model, &checked(&runtime, &lean), &[("images", &x)]) < 1e-4);
}

#[test]
fn a_trained_detector_computes_the_same() {
    let (Some(runtime), Some(data)) = (runtime(), std::env::var_os("TRTFORGE_TEST_DATA")) else { return };
    let path = PathBuf::from(data).join("models/yolox_nano_416.onnx");
    let Ok(model) = Model::read(&path) else { return };
    let simplified = runtime.optimize(&model).unwrap();
    let mut graph = typed(&runtime, &simplified);
    let mut form = LeanForm { merge_siblings: true, split_concatenations: true, ..LeanForm::default() };
    assert!(form.restructure(&mut graph, &()).unwrap() > 4);
    form.bandings.extend(candidates(&graph, Place::Beginning, 3).unwrap().into_iter().take(1));
    assert_eq!(form.band(&mut graph).unwrap(), 1);
    let x = numbers(&[1, 3, 416, 416]).to_vec_f32().unwrap().into_iter().map(|x| (x + 3.0) * 40.0).collect();
    let x = Tensor::from_vec(vec![1, 3, 416, 416], x).unwrap();
    let apart = difference(&runtime, &model, &checked(&runtime, &graph), &[("images", &x)]);
    assert!(apart < 1e-4, "{apart}");
}
