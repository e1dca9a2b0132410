//! Types of all values.

use trtforge_graph::construct::{node, tensor};
use trtforge_graph::{Dimension, ElementType, TensorType, ValueType};

use crate::machine::{models, runtime};
use crate::networks::{network, single};

#[test]
fn every_value_of_every_test_model_gets_a_type() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models() {
        let types = runtime.infer_types(&model).unwrap();
        let graph = &model.proto().graph;
        for output in graph.node.iter().flat_map(|node| &node.output).filter(|output| !output.is_empty()) {
            assert!(types.contains_key(output), "{name}: {output}");
        }
        for value in graph.input.iter().map(|value| value.name()).chain(graph.initializer.iter().map(|w| w.name())) {
            assert!(types.contains_key(value), "{name}: {value}");
        }
        assert!(types.keys().all(|key| !key.contains("trtforge")), "{name}");
    }
}

#[test]
fn fixed_models_get_fixed_shapes() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models().iter().filter(|(name, _)| name.starts_with("yolox") || name.starts_with("fastest")) {
        let types = runtime.infer_types(model).unwrap();
        let open: Vec<_> =
            types.iter().filter(|(_, ty)| ty.tensor().is_none_or(|tensor| tensor.bytes().is_none())).collect();
        assert!(open.is_empty(), "{name}: {open:?}");
    }
}

#[test]
fn symbols_and_unknown_sizes_stay_open() {
    let Some(runtime) = runtime() else { return };
    let float = (ElementType::Float32, &[1, 8, 8, 8][..]);
    let mut model = single("Relu", float, float);
    let open = TensorType {
        element: ElementType::Float32,
        shape: Some(vec![Dimension::Symbol("N".into()), Dimension::Fixed(8), Dimension::Unknown, Dimension::Fixed(8)]),
    };
    let graph = model.proto_mut().graph.mut_or_insert_default();
    graph.input[0].type_ = Some(open.to_proto()).into();
    graph.output[0].type_ = None.into();
    let types = runtime.infer_types(&model).unwrap();
    assert_eq!(types["x"], ValueType::Tensor(open));
    let result = types["y"].tensor().unwrap().shape.clone().unwrap();
    assert_eq!(result[0], Dimension::Symbol("N".into()));
    assert_eq!((result[1].fixed(), result[2].fixed(), result[3].fixed()), (Some(8), None, Some(8)));
}

#[test]
fn stale_types_in_the_model_do_not_count() {
    let Some(runtime) = runtime() else { return };
    let float = (ElementType::Float32, &[2, 3][..]);
    let nodes = vec![node("Relu", "a", ["x"], ["m"]), node("MatMul", "b", ["m", "w"], ["y"])];
    let mut model = network(nodes, vec![tensor("w", [3, 4], vec![1.0f32; 12])], float, (ElementType::Float32, &[2, 4]));
    let stale = trtforge_graph::construct::tensor_value("m", ElementType::Int64, [7]);
    model.proto_mut().graph.mut_or_insert_default().value_info.push(stale);
    let types = runtime.infer_types(&model).unwrap();
    assert_eq!(types["m"], ValueType::Tensor(TensorType::fixed(ElementType::Float32, [2, 3])));
    assert_eq!(types["w"], ValueType::Tensor(TensorType::fixed(ElementType::Float32, [3, 4])));
}
