//! Values inside a network.

use trtforge_graph::Tensor;
use trtforge_onnxruntime::Error;

use crate::machine::{input, models, plain, runtime};
use crate::networks::convolutions;

#[test]
fn chosen_values_are_shown_in_order() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(2, 8, true);
    let wanted = ["block1.d", "block0.a", "y"];
    let mut observer = runtime.observe(&model, &wanted, &plain()).unwrap();
    let x = input(&observer.session().inputs()[0].clone(), 3);
    let mut seen = Vec::new();
    observer.run(&[("x", &x)], |name, tensor| seen.push((name.to_owned(), tensor.clone()))).unwrap();
    assert_eq!(seen.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), wanted);
    let halved: Vec<f32> = seen[0].1.to_vec_f32().unwrap().iter().map(|value| value / 2.0).collect();
    assert_eq!(seen[2].1, Tensor::from_vec(vec![1, 8, 16, 16], halved).unwrap());
}

#[test]
fn every_value_of_a_detector_can_be_seen_at_once() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models().iter().filter(|(name, _)| name.starts_with("fastest")) {
        let simplified = runtime.optimize(model).unwrap();
        let nodes = &simplified.proto().graph.node;
        let names: Vec<&str> = nodes.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        let mut observer = runtime.observe(&simplified, &names, &plain()).unwrap();
        let info = observer.session().inputs()[0].clone();
        let mut seen = 0;
        observer.run(&[(info.name.as_str(), &input(&info, 5))], |_, _| seen += 1).unwrap();
        assert_eq!(seen, names.len(), "{name}");
    }
}

#[test]
fn only_values_that_nodes_make_can_be_seen() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(1, 8, false);
    for name in ["nothing", "", "x"] {
        let error = runtime.observe(&model, &[name], &plain()).unwrap_err();
        assert!(matches!(error, Error::UnknownOutput { .. }), "{name}: {error}");
    }
}
