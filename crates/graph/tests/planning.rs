//! Lifetimes, memory plan and statistics: on graphs whose numbers can be worked out by hand, and on random lifetimes.

mod models;

use models::{F32, branches, chain, convolution, graph};
use proptest::prelude::*;
use trtforge_graph::construct::{model, node, tensor, tensor_value};
use trtforge_graph::memory_plan::{Occupancy, live_bytes, lower_bound, plan};
use trtforge_graph::{
    Dimension, Error, Graph, Model, Result, Storage, TensorType, known_lifetimes, lifetimes, statistics,
};

fn open(model: Model) -> Graph {
    Graph::new(model).expect("the model is sound")
}

#[test]
fn values_live_from_their_node_to_their_last_reader() -> Result<()> {
    let graph = open(convolution());
    let spans: Vec<_> = lifetimes(&graph)?
        .iter()
        .map(|life| (graph.value(life.value).name.clone(), life.bytes, life.first, life.last, life.storage))
        .collect();
    let expected = [
        ("x", 768, 0, 0, Storage::Input),
        ("c", 1024, 0, 1, Storage::Activation),
        ("y", 1024, 1, 2, Storage::Activation),
        ("z", 1024, 2, 2, Storage::Output),
    ];
    assert_eq!(
        spans,
        expected.map(|(name, bytes, first, last, storage)| (name.to_owned(), bytes, first, last, storage))
    );
    Ok(())
}

#[test]
fn a_subgraph_keeps_what_it_reads_alive() -> Result<()> {
    let graph = open(branches());
    let lives = lifetimes(&graph)?;
    let a = lives.iter().find(|life| graph.value(life.value).name == "a").expect("a lives");
    assert_eq!((a.first, a.last), (0, 2));
    Ok(())
}

#[test]
fn outputs_stay_and_unread_values_go_at_once() -> Result<()> {
    let mut body = graph(vec![
        node("Relu", "early", ["x"], ["y"]),
        node("Abs", "unread", ["x"], ["u"]),
        node("Exp", "late", ["y"], ["z"]),
    ]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("y", F32, [4]), tensor_value("z", F32, [4])];
    body.value_info = vec![tensor_value("u", F32, [4])];
    let graph = open(Model::from_proto(model(body, 8, 17)));
    let span = |name: &str| {
        let lives = lifetimes(&graph).expect("sizes are known");
        let life = lives.iter().find(|life| graph.value(life.value).name == name).copied().expect("it lives");
        (life.first, life.last)
    };
    assert_eq!(span("y"), (0, 2), "an output is not overwritten");
    assert_eq!(span("u"), (1, 1));
    assert_eq!(span("z"), (2, 2));
    Ok(())
}

#[test]
fn open_dimensions_have_no_size() {
    let mut model = chain(3);
    let open_type = TensorType { element: F32, shape: Some(vec![Dimension::Symbol("n".into())]) };
    let body = model.proto_mut().graph.as_mut().expect("graph");
    body.value_info[0] = trtforge_graph::construct::value_info("v1", &open_type.into());
    let graph = open(model);
    assert!(
        matches!(lifetimes(&graph), Err(Error::UnknownSize { value, shape }) if value == "v1" && shape == "float32[n]")
    );
    let (known, unknown) = known_lifetimes(&graph);
    assert_eq!((known.len(), unknown.len()), (3, 1));
}

#[test]
fn multiply_accumulates_by_hand() {
    let graph = open(convolution());
    let figures = statistics(&graph);
    assert_eq!(figures.macs, 4 * 8 * 8 * 3 * 3 * 3);
    assert_eq!(figures.parameters, 4 * 3 * 3 * 3 + 4);
    assert_eq!(figures.weight_bytes, 4 * figures.parameters);
    assert_eq!(figures.operators.values().sum::<usize>(), 3);
    assert_eq!(figures.activation_bytes, 3 * 1024);
    assert_eq!(figures.nodes[0].output_bytes, Some(1024));
    assert!((figures.gflop() - 2e-9 * 6912.0).abs() < 1e-15);
    assert!(serde_json::to_string(&figures).expect("it serialises").contains("\"macs\":6912"));
}

fn macs(op: &str, inputs: &[(&str, &[u64])], output: &[u64], attributes: &[(&str, i64)]) -> u64 {
    let names = inputs.iter().map(|input| input.0);
    let mut operator = node(op, "n", names, ["out"]);
    for (name, value) in attributes {
        operator = operator.attr_int(name, *value);
    }
    let mut body = graph(vec![operator]);
    body.input = inputs.iter().map(|(name, shape)| tensor_value(name, F32, shape.iter().copied())).collect();
    body.output = vec![tensor_value("out", F32, output.iter().copied())];
    statistics(&open(Model::from_proto(model(body, 8, 17)))).macs
}

#[test]
fn each_counted_operator() {
    assert_eq!(macs("MatMul", &[("a", &[5, 2, 3]), ("b", &[3, 4])], &[5, 2, 4], &[]), 5 * 2 * 3 * 4);
    assert_eq!(macs("Gemm", &[("a", &[2, 3]), ("b", &[3, 4])], &[2, 4], &[]), 2 * 3 * 4);
    assert_eq!(macs("Gemm", &[("a", &[3, 2]), ("b", &[3, 4])], &[2, 4], &[("transA", 1)]), 2 * 3 * 4);
    assert_eq!(macs("Conv", &[("a", &[1, 4, 5, 5]), ("w", &[4, 1, 3, 3])], &[1, 4, 3, 3], &[("group", 4)]), 36 * 9);
    assert_eq!(macs("ConvTranspose", &[("a", &[1, 2, 4, 4]), ("w", &[2, 3, 2, 2])], &[1, 3, 8, 8], &[]), 32 * 12);
    assert_eq!(macs("Relu", &[("a", &[8])], &[8], &[]), 0);
}

#[test]
fn unknown_shapes_are_said_not_guessed() {
    let mut model = convolution();
    model.proto_mut().graph.as_mut().expect("graph").value_info.clear();
    let figures = statistics(&open(model));
    assert_eq!((figures.macs, figures.unknown), (0, vec!["conv".to_owned()]));
}

#[test]
fn shared_weights_count_once_in_total() {
    let mut body = graph(vec![node("Mul", "a", ["x", "k"], ["y"]), node("Mul", "b", ["y", "k"], ["z"])]);
    body.input = vec![tensor_value("x", F32, [4])];
    body.output = vec![tensor_value("z", F32, [4])];
    body.initializer = vec![tensor("k", [4], vec![0f32; 4]), tensor("shape", [1], vec![4i64])];
    let figures = statistics(&open(Model::from_proto(model(body, 8, 17))));
    assert_eq!((figures.parameters, figures.weight_bytes), (4, 24));
    assert_eq!(figures.nodes.iter().map(|node| node.parameters).sum::<u64>(), 8);
}

type Span = (u64, u32, u32);

fn spans(most: usize, steps: u32) -> impl Strategy<Value = Vec<Span>> {
    let span = (0u64..1000, 0..steps, 0..steps / 2).prop_map(|(bytes, first, length)| (bytes, first, first + length));
    prop::collection::vec(span, 0..most)
}

fn live_together(a: &Span, b: &Span) -> bool {
    a.first() <= b.last() && b.first() <= a.last()
}

fn assert_disjoint(values: &[Span], offsets: &[u64]) -> Result<(), TestCaseError> {
    for (i, a) in values.iter().enumerate() {
        for (j, b) in values.iter().enumerate().skip(i + 1) {
            let apart = offsets[i] + a.bytes() <= offsets[j] || offsets[j] + b.bytes() <= offsets[i];
            prop_assert!(apart || !live_together(a, b) || a.bytes() == 0 || b.bytes() == 0, "{i} and {j} share bytes");
        }
    }
    Ok(())
}

/// The least memory for a few values: some order of placing each at the lowest free offset is always best.
fn optimum(values: &[Span]) -> u64 {
    fn place(values: &[Span], left: &mut Vec<usize>, placed: &mut Vec<(usize, u64)>, best: &mut u64) {
        if left.is_empty() {
            let total = placed.iter().map(|&(index, offset)| offset + values[index].bytes()).max().unwrap_or(0);
            *best = total.min(*best);
        }
        for position in 0..left.len() {
            let index = left.remove(position);
            placed.push((index, lowest_free(values, index, placed)));
            place(values, left, placed, best);
            placed.pop();
            left.insert(position, index);
        }
    }
    let mut best = u64::MAX;
    place(values, &mut (0..values.len()).collect(), &mut Vec::new(), &mut best);
    best
}

fn lowest_free(values: &[Span], index: usize, placed: &[(usize, u64)]) -> u64 {
    let neighbours: Vec<_> = placed.iter().filter(|other| live_together(&values[index], &values[other.0])).collect();
    let ends = neighbours.iter().map(|&&(other, offset)| offset + values[other].bytes());
    let fits = |&start: &u64| {
        neighbours
            .iter()
            .all(|&&(other, offset)| start + values[index].bytes() <= offset || offset + values[other].bytes() <= start)
    };
    std::iter::once(0).chain(ends).filter(fits).min().expect("behind the last one it always fits")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn plans_never_overlap_and_reach_the_bound_at_best(values in spans(60, 40), alignment in 0u64..300) {
        let (bound, plan) = (lower_bound(&values), plan(&values, alignment));
        assert_disjoint(&values, &plan.offsets)?;
        prop_assert!(plan.total_bytes >= bound.bytes);
        let needed = values.iter().zip(&plan.offsets).map(|(value, offset)| value.bytes() + if value.bytes() == 0 { 0 } else { *offset });
        prop_assert_eq!(plan.total_bytes, needed.max().unwrap_or(0));
        for offset in plan.offsets {
            prop_assert_eq!(offset % alignment.max(1), 0);
        }
    }

    #[test]
    fn the_bound_is_the_worst_step(values in spans(30, 30)) {
        let at = |step: u32| values.iter().filter(|v| v.first() <= step && step <= v.last()).map(Occupancy::bytes).sum::<u64>();
        let worst = (0..60).map(at).max().unwrap_or(0);
        let bound = lower_bound(&values);
        prop_assert_eq!(bound.bytes, worst);
        prop_assert_eq!(at(bound.step), worst);
        prop_assert_eq!(bound.live.iter().map(|&index| values[index].bytes()).sum::<u64>(), worst);
    }

    #[test]
    fn no_placement_is_better_than_the_bound(values in spans(6, 8)) {
        let best = optimum(&values);
        prop_assert!(lower_bound(&values).bytes <= best);
        prop_assert!(best <= plan(&values, 1).total_bytes);
    }
}

proptest! {
    #[test]
    fn what_is_live_step_by_step_peaks_at_the_bound(
        lives in proptest::collection::vec((0u64..1_000, 0u32..40, 0u32..20), 0..50)
    ) {
        let spans: Vec<_> = lives.into_iter().map(|(bytes, first, more)| (bytes, first, first + more)).collect();
        let live = live_bytes(&spans, 60);
        let bound = lower_bound(&spans);
        prop_assert_eq!(live.len(), 60);
        prop_assert_eq!(live.iter().copied().max().unwrap_or(0), bound.bytes);
        for (step, bytes) in (0u32..).zip(&live) {
            let there = spans.iter().filter(|(_, first, last)| (*first..=*last).contains(&step));
            prop_assert_eq!(*bytes, there.map(|(bytes, ..)| bytes).sum::<u64>());
        }
        prop_assert_eq!(&live_bytes(&spans, 7)[..], &live[..7], "fewer steps are the first of them");
    }
}
