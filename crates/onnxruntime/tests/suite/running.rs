//! Sessions: what goes in, what comes out, and what is refused.

use std::path::Path;

use trtforge_graph::construct::{node, opset_import};
use trtforge_graph::{Bytes, Element, ElementType, Model, Tensor};
use trtforge_onnxruntime::{Error, Optimization, SessionConfig};

use crate::machine::{models, outputs, plain, relative_error, runtime};
use crate::networks::{convolutions, network, single};

#[test]
fn every_test_model_runs_the_same_at_every_optimization() {
    let Some(runtime) = runtime() else { return };
    for (name, model) in models() {
        let reference = outputs(&mut runtime.session(&model, &plain()).unwrap());
        for optimization in [Optimization::Basic, Optimization::Extended, Optimization::All] {
            let config = SessionConfig { optimization, ..SessionConfig::default() };
            for ((_, a), (_, b)) in reference.iter().zip(outputs(&mut runtime.session(&model, &config).unwrap())) {
                assert!(relative_error(a, &b) < 1e-4, "{name} at {optimization:?}");
            }
        }
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(3, 32, true);
    let run = |threads| outputs(&mut runtime.session(&model, &SessionConfig { threads, ..plain() }).unwrap());
    let (one, many) = (run(1), run(4));
    assert!(relative_error(&one[0].1, &many[0].1) < 1e-6);
}

#[test]
fn a_session_outlives_its_temporary_files_and_its_model() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(2, 64, false);
    let mut session = runtime.session(&model, &plain()).unwrap();
    let first = outputs(&mut session);
    drop(model);
    assert_eq!(first, outputs(&mut session));
    assert_eq!(session.take_warnings(), []);
}

#[test]
fn external_data_is_read_like_any_other() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(2, 64, false);
    let reference = outputs(&mut runtime.session(&model, &plain()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write_with_external_data(&model, &path);
    let again = Model::read(&path).unwrap();
    assert!(again.uses_external_data());
    assert_eq!(reference, outputs(&mut runtime.session(&again, &plain()).unwrap()));
    let simplified = runtime.optimize(&again).unwrap();
    let worst = relative_error(&reference[0].1, &outputs(&mut runtime.session(&simplified, &plain()).unwrap())[0].1);
    assert!(worst < 1e-5);
}

fn write_with_external_data(model: &Model, path: &Path) {
    let (skeleton, weights) = model.split_weights(1024).unwrap();
    std::fs::write(path, skeleton).unwrap();
    assert!(!weights.is_empty());
    for tensor in weights {
        std::fs::write(path.with_file_name(tensor.location), tensor.data).unwrap();
    }
}

fn passes<T: Element + PartialEq + std::fmt::Debug>(values: Vec<T>) {
    let Some(runtime) = runtime() else { return };
    let count = values.len() as u64;
    let model = single("Identity", (T::TYPE, &[count]), (T::TYPE, &[count]));
    let tensor = Tensor::from_vec(vec![count], values).unwrap();
    let mut session = runtime.session(&model, &plain()).unwrap();
    let back = session.run(&[("x", &tensor)], None).unwrap();
    assert_eq!(back, [("y".to_owned(), tensor)]);
}

#[test]
fn all_number_types_pass_unchanged() {
    passes::<f32>(vec![1.5, f32::NEG_INFINITY, -0.0]);
    passes::<f64>(vec![1.5, f64::MAX]);
    passes::<half::f16>(vec![half::f16::MAX, half::f16::from_f32(-0.5)]);
    passes::<half::bf16>(vec![half::bf16::MAX, half::bf16::from_f32(-0.5)]);
    passes::<i8>(vec![i8::MIN, 0, i8::MAX]);
    passes::<u8>(vec![0, 255]);
    passes::<i16>(vec![i16::MIN, i16::MAX]);
    passes::<u16>(vec![0, u16::MAX]);
    passes::<i32>(vec![i32::MIN, i32::MAX]);
    passes::<u32>(vec![0, u32::MAX]);
    passes::<i64>(vec![i64::MIN, i64::MAX]);
    passes::<u64>(vec![0, u64::MAX]);
}

#[test]
fn booleans_scalars_and_empty_tensors_pass() {
    let Some(runtime) = runtime() else { return };
    let flags = Tensor::new(ElementType::Bool, vec![3], Bytes::from_static(&[1, 0, 1])).unwrap();
    let scalar = Tensor::from_vec(vec![], vec![2.5f32]).unwrap();
    let empty = Tensor::from_vec::<f32>(vec![2, 0], vec![]).unwrap();
    for tensor in [flags, scalar, empty] {
        let ty = (tensor.element, tensor.shape.as_slice());
        let mut session = runtime.session(&single("Identity", ty, ty), &plain()).unwrap();
        assert_eq!(session.run(&[("x", &tensor)], None).unwrap()[0].1, tensor);
    }
}

#[test]
fn wrong_inputs_are_told_apart() {
    let Some(runtime) = runtime() else { return };
    let float = (ElementType::Float32, &[1, 3][..]);
    let mut session = runtime.session(&single("Relu", float, float), &plain()).unwrap();
    let good = Tensor::from_vec(vec![1, 3], vec![0.0f32; 3]).unwrap();
    let long = Tensor::from_vec(vec![1, 4], vec![0.0f32; 4]).unwrap();
    let deep = Tensor::from_vec(vec![1, 3, 1], vec![0.0f32; 3]).unwrap();
    let double = Tensor::from_vec(vec![1, 3], vec![0.0f64; 3]).unwrap();
    let mut fail = |inputs: &[(&str, &Tensor)], wanted: Option<&[&str]>| session.run(inputs, wanted).unwrap_err();
    assert!(matches!(fail(&[], None), Error::MissingInput { name, .. } if name == "x"));
    assert!(
        matches!(fail(&[("z", &good)], None), Error::UnknownInput { name, available } if name == "z" && available == ["x"])
    );
    assert!(matches!(fail(&[("x", &good), ("x", &good)], None), Error::DuplicateInput { .. }));
    assert!(matches!(fail(&[("x", &long)], None), Error::InputShape { actual, .. } if actual == [1, 4]));
    assert!(matches!(fail(&[("x", &deep)], None), Error::InputShape { .. }));
    assert!(matches!(fail(&[("x", &double)], None), Error::InputElement { actual: ElementType::Float64, .. }));
    assert!(matches!(fail(&[("x", &good)], Some(&["w"])), Error::UnknownOutput { name } if name == "w"));
    assert_eq!(session.run(&[("x", &good)], Some(&["y"])).unwrap().len(), 1);
}

#[test]
fn a_run_that_fails_names_its_node() {
    let Some(runtime) = runtime() else { return };
    let ints = (ElementType::Int64, &[2][..]);
    let shape = node("Reshape", "bend", ["data", "x"], ["y"]);
    let data = trtforge_graph::construct::tensor::<f32>("data", [3], vec![1.0, 2.0, 3.0]);
    let model = network(vec![shape], vec![data], ints, (ElementType::Float32, &[2, 2]));
    let mut session = runtime.session(&model, &plain()).unwrap();
    let two = Tensor::from_vec(vec![2], vec![2i64, 2]).unwrap();
    let error = session.run(&[("x", &two)], None).unwrap_err();
    assert!(
        matches!(&error, Error::Run { node: Some(node), operator: Some(operator), .. } if node == "bend" && operator == "Reshape"),
        "{error}"
    );
    assert!(!error.to_string().contains("/onnxruntime_src"), "{error}");
}

#[test]
fn operators_that_cannot_run_are_told_apart_from_broken_models() {
    let Some(runtime) = runtime() else { return };
    let float = (ElementType::Float32, &[1, 3][..]);
    let open = |model: &Model| runtime.session(model, &plain()).unwrap_err();

    let mut plugin = network(vec![node("Plugin_TRT", "p", ["x"], ["y"]).in_domain("TRT")], vec![], float, float);
    plugin.proto_mut().opset_import.push(opset_import("TRT", 1));
    for error in [open(&plugin), runtime.optimize(&plugin).unwrap_err(), runtime.infer_types(&plugin).unwrap_err()] {
        assert!(error.is_unsupported());
        let named = matches!(&error, Error::UnknownOperator { node, operator, domain } if node == "p" && operator == "Plugin_TRT" && domain == "TRT");
        assert!(named, "{error:?}");
    }

    let error = open(&single("Foo", float, float));
    assert!(
        matches!(&error, Error::UnknownOperator { node, operator, .. } if node == "only" && operator == "Foo"),
        "{error:?}"
    );

    let brain = (ElementType::BFloat16, &[1, 3][..]);
    let error = open(&single("Sin", brain, brain));
    assert!(error.is_unsupported() || matches!(error, Error::Rejected { .. }), "{error:?}");

    let mut twisted = single("Relu", float, float);
    twisted.proto_mut().graph.mut_or_insert_default().node[0].input[0] = "nothing".into();
    let error = open(&twisted);
    assert!(matches!(error, Error::Rejected { .. }) && !error.is_unsupported(), "{error:?}");
    assert!(matches!(open(&Model::from_proto(Default::default())), Error::Rejected { .. }));
}
