//! Every order of dropping what belongs together, with and without a finished build between.

mod support;

use support::{model, ready, tensorrt};
use trtforge_tensorrt::{Flow, ProgressEvent};

/// Every order of `0..count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for position in 0..count {
            let mut order = shorter.clone();
            order.insert(position, count - 1);
            all.push(order);
        }
    }
    all
}

/// Drops `values` in `order`.
fn drop_in_order(values: Vec<Box<dyn std::any::Any>>, order: &[usize]) {
    let mut values: Vec<Option<Box<dyn std::any::Any>>> = values.into_iter().map(Some).collect();
    for &index in order {
        drop(values[index].take());
    }
}

#[test]
fn objects_of_a_builder_go_in_any_order() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    for (round, order) in orders(5).into_iter().enumerate() {
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        let spare = builder.profile().expect("a profile");
        config.set_progress(Box::new(|_: ProgressEvent<'_>| Flow::Continue)).expect("a monitor");
        let engine: Box<dyn std::any::Any> = if round % 10 == 0 {
            Box::new(builder.build(&mut network, &mut config).expect("an engine").engine)
        } else {
            Box::new(())
        };
        let values: Vec<Box<dyn std::any::Any>> =
            vec![Box::new(builder), Box::new(network), Box::new(config), Box::new(spare), engine];
        drop_in_order(values, &order);
    }
}

#[test]
fn an_engine_is_readable_after_all_that_made_it_is_gone() {
    let Some(tensorrt) = tensorrt() else { return };
    let Some(bytes) = model("mnist_winml.onnx") else { return };
    let engine = {
        let (builder, mut network, mut config) = ready(tensorrt, &bytes);
        builder.build(&mut network, &mut config).expect("an engine").engine
    };
    let copy = engine.to_vec();
    let sent = std::thread::spawn(move || engine.to_vec()).join().expect("no panic");
    assert_eq!(copy, sent);
}
