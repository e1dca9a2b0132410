//! Values inside a network, seen where they are.

use std::collections::HashMap;

use trtforge_graph::{ElementType, Graph, Model, Tensor, ValueType};
use trtforge_onnxruntime::{Error, OnnxRuntime, Optimization, SessionConfig, Watched, Watcher};

use crate::machine::{input, models, plain, runtime};
use crate::networks::convolutions;

/// Keeps everything it sees, in the order it came.
#[derive(Debug, Default)]
struct Keeper(Vec<(usize, Vec<i64>, Vec<f32>)>);

impl Watcher for Keeper {
    fn see(&mut self, index: usize, shape: &[i64], values: &[f32]) {
        self.0.push((index, shape.to_vec(), values.to_vec()));
    }
}

fn basic() -> SessionConfig {
    SessionConfig { optimization: Optimization::Basic, threads: 1, memory_arena: false, ..plain() }
}

/// The simplified FastestDet and the names of its 32-bit values, inputs first.
fn detector(runtime: &OnnxRuntime) -> Option<(Model, Vec<String>)> {
    let (_, model) = models().into_iter().find(|(name, _)| name.starts_with("fastest"))?;
    let model = runtime.optimize(&model).unwrap();
    let mut graph = Graph::new(model.clone()).unwrap();
    graph.set_types(runtime.infer_types(&model).unwrap());
    let made = graph.node_ids().flat_map(|node| graph.outputs(node).iter().copied().flatten().collect::<Vec<_>>());
    let values = graph.graph_inputs().iter().copied().chain(made).map(|value| graph.value(value));
    let floats = values
        .filter(|value| value.ty.as_ref().and_then(ValueType::element) == Some(ElementType::Float32))
        .map(|value| value.name.clone());
    let names = floats.collect();
    Some((model, names))
}

fn run(watched: &mut Watched<Keeper>, seed: u64) -> Vec<(usize, Vec<i64>, Vec<f32>)> {
    let info = watched.session().inputs()[0].clone();
    watched.run(&[(info.name.as_str(), &input(&info, seed))]).unwrap();
    std::mem::take(&mut watched.watcher().0)
}

#[test]
fn what_is_seen_is_what_would_come_out() {
    let Some(runtime) = runtime() else { return };
    let Some((model, names)) = detector(&runtime) else { return };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut watched = runtime.watch(&model, &names, &basic(), [Keeper::default()]).unwrap();
    let seen = run(&mut watched[0], 5);
    assert_eq!(seen.len(), names.len());
    let made = &names[1..];
    let mut observer = runtime.observe(&model, made, &basic()).unwrap();
    let info = observer.session().inputs()[0].clone();
    let mut outputs: HashMap<String, Tensor> = HashMap::new();
    let x = input(&info, 5);
    let mut keep = |name: &str, tensor: &Tensor| drop(outputs.insert(name.to_owned(), tensor.clone()));
    observer.run(&[(info.name.as_str(), &x)], &mut keep).unwrap();
    keep(names[0], &x);
    for (index, shape, values) in seen {
        let expected = &outputs[names[index]];
        let sizes: Vec<i64> = expected.shape.iter().map(|&size| size as i64).collect();
        assert_eq!((shape, values.as_slice()), (sizes, expected.as_slice::<f32>().unwrap()), "{}", names[index]);
    }
}

#[test]
fn values_are_seen_in_the_order_of_computation_so_that_none_waits() {
    let Some(runtime) = runtime() else { return };
    let Some((model, names)) = detector(&runtime) else { return };
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for optimization in [Optimization::Disabled, Optimization::Basic, Optimization::All] {
        let config = SessionConfig { optimization, ..basic() };
        let mut watched = runtime.watch(&model, &names, &config, [Keeper::default()]).unwrap();
        let order: Vec<usize> = run(&mut watched[0], 1).iter().map(|(index, ..)| *index).collect();
        assert!(order.is_sorted(), "{optimization:?}: {order:?}");
    }
}

#[test]
fn sessions_of_one_model_agree_and_run_side_by_side() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(3, 16, true);
    let names = ["x", "block0.a", "block2.d", "y"];
    let mut sessions = runtime.watch(&model, &names, &basic(), (0..3).map(|_| Keeper::default())).unwrap();
    let seen: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(|| run(session, 9))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(seen[0].len(), names.len());
    assert!(seen.iter().all(|other| *other == seen[0]));
}

#[test]
fn values_that_cannot_be_watched_are_refused() {
    let Some(runtime) = runtime() else { return };
    let model = convolutions(1, 8, false);
    for name in ["nothing", ""] {
        let error = runtime.watch(&model, &[name], &plain(), [Keeper::default()]).unwrap_err();
        assert!(matches!(error, Error::UnknownOutput { .. }), "{name}: {error}");
    }
}

#[test]
fn a_watcher_that_panics_fails_the_run_alone() {
    struct Panics(bool);
    impl Watcher for Panics {
        fn see(&mut self, _: usize, _: &[i64], _: &[f32]) {
            assert!(!self.0, "as the test wants it");
        }
    }
    let Some(runtime) = runtime() else { return };
    let model = convolutions(1, 8, false);
    let mut watched = runtime.watch(&model, &["y"], &plain(), [Panics(true)]).unwrap();
    let info = watched[0].session().inputs()[0].clone();
    let x = input(&info, 1);
    let error = watched[0].run(&[("x", &x)]).unwrap_err();
    assert!(error.to_string().contains("the watcher panicked"), "{error}");
    watched[0].watcher().0 = false;
    watched[0].run(&[("x", &x)]).unwrap();
}
