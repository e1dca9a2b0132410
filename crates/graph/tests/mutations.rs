//! Damaged models: whatever happens to the bytes of a sound model, nothing panics and what can be read can be written.

mod models;

use models::{branches, chain, convolution, everything};
use trtforge_graph::construct::{model, node};
use trtforge_graph::{Bytes, Graph, Model, Tensor, check, known_lifetimes, lifetimes, memory_plan, statistics};

/// A generator of numbers that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let position = numbers.next(bytes.len());
    match numbers.next(6) {
        0 => bytes[position] ^= 1 << numbers.next(8),
        1 => bytes[position] = numbers.next(256) as u8,
        2 => bytes.truncate(position.max(1)),
        3 => bytes.insert(position, numbers.next(256) as u8),
        4 => drop(bytes.remove(position)),
        _ => {
            let end = (position + numbers.next(32)).min(bytes.len());
            let piece = bytes[position..end].to_vec();
            let target = numbers.next(bytes.len());
            bytes.splice(target..target, piece);
        }
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

/// Everything that this crate does with a model. Returns whether it could be read.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(model) = Model::from_bytes(Bytes::from(bytes), None) else { return false };
    let findings = check(&model);
    findings.iter().for_each(|finding| drop((finding.to_string(), finding.problem.hint())));
    for tensor in model.proto().graph.iter().flat_map(|graph| &graph.initializer) {
        drop(Tensor::from_proto(tensor));
    }
    let written = model.to_bytes().expect("what was read can be written");
    let again = Model::from_bytes(written, None).expect("what was written can be read");
    drop(again.split_weights(16).expect("small models can be split"));
    if let Ok(graph) = Graph::new(again) {
        exercise_graph(graph);
    }
    true
}

fn exercise_graph(mut graph: Graph) {
    drop(lifetimes(&graph));
    let (known, _) = known_lifetimes(&graph);
    assert!(memory_plan::plan(&known, 256).total_bytes >= memory_plan::lower_bound(&known).bytes);
    assert!(statistics(&graph).gflop() >= 0.0);
    graph.value_ids().for_each(|value| drop(graph.constant(value)));
    graph.remove_dead();
    graph.into_model().expect("an index becomes a model again");
}

#[test]
fn damaged_models_never_panic() {
    let external = Model::from_proto(everything()).split_weights(1).expect("it is small").0;
    let sound = [
        convolution().to_bytes().expect("it encodes"),
        branches().to_bytes().expect("it encodes"),
        chain(4).to_bytes().expect("it encodes"),
        Model::from_proto(everything()).to_bytes().expect("it encodes"),
        external,
    ];
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut readable = 0;
    for round in 0..10_000 {
        let mut bytes = sound[round % sound.len()].to_vec();
        for _ in 0..=numbers.next(3) {
            damage(&mut bytes, &mut numbers);
        }
        readable += usize::from(exercise(bytes));
    }
    assert!((500..9_500).contains(&readable), "{readable} of 10000 could be read: the damage is not of the right kind");
}

#[test]
fn every_prefix_is_refused_or_read() {
    let whole = Model::from_proto(everything()).to_bytes().expect("it encodes");
    (0..whole.len()).for_each(|length| _ = exercise(whole[..length].to_vec()));
}

/// A graph inside a node inside a graph, that many times.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = models::graph(vec![]);
    for _ in 0..depth {
        inner = models::graph(vec![node("Loop", "loop", [""; 0], [""; 0]).attr_graph("body", inner)]);
    }
    Model::from_proto(model(inner, 8, 17)).to_bytes().expect("it encodes").to_vec()
}

#[test]
fn nesting_has_an_end() {
    assert!(exercise(nested(30)));
    for depth in [40, 400] {
        assert!(!exercise(nested(depth)), "graphs nested {depth} deep were read");
    }
}
