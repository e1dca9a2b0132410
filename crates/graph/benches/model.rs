//! Reading, indexing, patching and writing: a model of 170 MB, and one of ten thousand nodes.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use trtforge_graph::construct::{model, node, tensor, tensor_value};
use trtforge_graph::proto::GraphProto;
use trtforge_graph::{ElementType, Graph, Model, Patch, check, lifetimes, memory_plan};

/// A chain of `nodes` convolutions, each with its own square weights.
fn layered(nodes: usize, channels: u64) -> Model {
    let shape = [1, channels, 20, 20];
    let name = |index: usize| format!("v{index}");
    let mut graph = GraphProto { name: Some("layers".to_owned()), ..Default::default() };
    for index in 0..nodes {
        let weight = format!("w{index}");
        let values = vec![index as f32; (channels * channels) as usize];
        graph.initializer.push(tensor(&weight, [channels, channels, 1, 1], values));
        graph.node.push(node("Conv", &format!("conv{index}"), [name(index), weight], [name(index + 1)]));
        graph.value_info.push(tensor_value(&name(index + 1), ElementType::Float32, shape));
    }
    graph.input.push(tensor_value("v0", ElementType::Float32, shape));
    graph.output.extend(graph.value_info.pop());
    Model::from_proto(model(graph, 8, 17))
}

/// Puts a node behind every value.
fn patch_all(graph: &mut Graph) {
    let mut patch = Patch::new("all");
    let outputs: Vec<_> = graph.node_ids().filter_map(|node| graph.output(node, 0)).collect();
    for value in outputs {
        let (name, ty) = (graph.value(value).name.clone(), graph.value(value).ty.clone());
        let copy = graph.unique_name(&name);
        patch.add_node(node("Identity", &copy, [&name], [&copy]), vec![ty]);
        patch.redirect(value, &copy);
    }
    graph.apply(patch).expect("the patch is sound");
}

/// The same, one patch for each node.
fn patch_each(graph: &mut Graph) {
    let outputs: Vec<_> = graph.node_ids().filter_map(|node| graph.output(node, 0)).collect();
    for value in outputs {
        let (name, ty) = (graph.value(value).name.clone(), graph.value(value).ty.clone());
        let copy = graph.unique_name(&name);
        let mut patch = Patch::new("one");
        patch.add_node(node("Identity", &copy, [&name], [&copy]), vec![ty]).redirect(value, &copy);
        graph.apply(patch).expect("the patch is sound");
    }
}

fn large_file(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("large.onnx"), folder.path().join("copy.onnx"));
    layered(170, 512).write(&path).expect("it is written");
    let model = Model::read(&path).expect("it is read");
    let mut group = criterion.benchmark_group("170MB");
    group.sample_size(10);
    group.bench_function("read", |b| b.iter(|| Model::read(black_box(&path)).expect("it is read")));
    group.bench_function("check", |b| b.iter(|| check(black_box(&model))));
    group.bench_function("write", |b| b.iter(|| model.write(black_box(&copy)).expect("it is written")));
    group.bench_function("split", |b| b.iter(|| model.split_weights(1024).expect("it is split")));
    group.finish();
}

fn many_nodes(criterion: &mut Criterion) {
    for nodes in [700, 10_000] {
        let model = layered(nodes, 4);
        let graph = Graph::new(model.clone()).expect("it is sound");
        let mut group = criterion.benchmark_group(format!("{nodes} nodes"));
        group.sample_size(10);
        let index = |model| Graph::new(model).expect("it is sound");
        group.bench_function("index", |b| b.iter_batched(|| model.clone(), index, BatchSize::LargeInput));
        group.bench_function("patch all", |b| b.iter_batched_ref(|| graph.clone(), patch_all, BatchSize::LargeInput));
        group.bench_function("patch each", |b| b.iter_batched_ref(|| graph.clone(), patch_each, BatchSize::LargeInput));
        group.bench_function("memory plan", |b| {
            b.iter(|| memory_plan::plan(&lifetimes(black_box(&graph)).expect("sizes are known"), 256));
        });
        group.finish();
    }
}

criterion_group!(benches, large_file, many_nodes);
criterion_main!(benches);
