//! The search on a network with one tensor that no scale fits.

use crate::biases::samples;
use crate::networks::{conv, half, network, output, weights};
use crate::small_model::{SmallModel, runtime, typed};
use std::collections::{BTreeMap, HashMap};
use trtforge_builder::calibration::{Histogram, Observation, Pass, calibrated_tensors, observe};
use trtforge_builder::int8::{Form, Found, Plan, Search, TrialGround, Wanted, Weigh, Work};
use trtforge_builder::{AccuracyFloor, CancelFlag};
use trtforge_graph::Graph;
use trtforge_onnxruntime::OnnxRuntime;

/// Three convolutions; where `factor` is not 1, one channel of the tensor `a` is so many times larger and the weights that read it as much smaller.
fn model(factor: f32) -> SmallModel {
    let scale = |name: &str, shape: &[u64], channel: &dyn Fn(usize) -> usize, factor: f32| -> Vec<f32> {
        let scaled = |(index, value): (usize, f32)| if channel(index) == 3 { value * factor } else { value };
        weights(name, shape).into_iter().enumerate().map(scaled).collect()
    };
    let shape = [16, 16, 1, 1];
    let model = conv(network(), "x", "c0").op("Relu", &["c0"], "r");
    let model = model.constant("w1", &shape, scale("w1", &shape, &|index| index / 16, factor));
    let model = model.op("Conv", &["r", "w1"], "c1").op("Relu", &["c1"], "a");
    let model = model.constant("w2", &shape, scale("w2", &shape, &|index| index % 16, factor.recip()));
    let model = model.op("Conv", &["a", "w2"], "c2").op("Relu", &["c2"], "b");
    output(conv(model, "b", "y"), "y")
}

fn histograms(runtime: &OnnxRuntime, graph: &Graph) -> BTreeMap<String, Histogram> {
    let model = graph.clone().into_model().unwrap();
    let (samples, tensors) = (samples(4), calibrated_tensors(graph));
    let pass = Pass {
        runtime,
        graph,
        model: &model,
        samples: &samples,
        tensors: &tensors,
        ranges: false,
        threads: 1,
        checkpoint: &|_| Ok(()),
        progress: &(),
        cancel: &CancelFlag::default(),
    };
    let observation = observe(&pass, Observation::default()).unwrap();
    observation.histograms().map(|(name, histogram)| (name.to_owned(), histogram.clone())).collect()
}

fn search(factor: f32, floor_db: f64, improve: bool, threads: usize) -> Option<(Graph, Found)> {
    search_for(factor, floor_db, None, improve, threads)
}

fn search_for(
    factor: f32,
    floor_db: f64,
    wanted: Option<Wanted>,
    improve: bool,
    threads: usize,
) -> Option<(Graph, Found)> {
    search_within(factor, floor_db, wanted, improve, threads, None)
}

/// Memory of a plan, made up.
type Bytes<'a> = dyn Fn(&Graph, &Plan) -> u64 + Sync + 'a;

fn search_within(
    factor: f32,
    floor_db: f64,
    wanted: Option<Wanted>,
    improve: bool,
    threads: usize,
    bytes: Option<&Bytes<'_>>,
) -> Option<(Graph, Found)> {
    let runtime = runtime()?;
    let graph = typed(&runtime, &model(factor).build());
    let (histograms, half) = (histograms(&runtime, &graph), half(&graph));
    let (samples, cancel) = (samples(4), CancelFlag::default());
    let ground = TrialGround::new(&runtime, &graph, &samples, 4, 4, threads, &cancel).unwrap();
    let weigh = bytes.map(|bytes| |plan: &Plan| Ok(bytes(&graph, plan)));
    let search = Search {
        ground: &ground,
        half: &half,
        keep: &[],
        histograms: &histograms,
        scales: &HashMap::new(),
        known: &|name| histograms.contains_key(name),
        method: None,
        floor: AccuracyFloor { channel_db: Some(floor_db), ..AccuracyFloor::default() },
        wanted,
        memory: weigh.as_ref().map(|weigh| weigh as &Weigh<'_>),
        form: Form::FULL,
        depthwise: true,
        improve,
        progress: &(),
    };
    let found = search.run().unwrap();
    Some((graph, found))
}

fn floor(decibel: f64) -> AccuracyFloor {
    AccuracyFloor { channel_db: Some(decibel), ..AccuracyFloor::default() }
}

#[test]
fn the_poisoned_tensor_alone_is_dealt_with() {
    let Some((_, untouched)) = search(2000.0, 15.0, false, 2) else { return };
    assert!(!untouched.reached && untouched.left.is_empty() && untouched.methods.is_empty());
    let (graph, found) = search(2000.0, 15.0, true, 2).unwrap();
    assert!(found.reached, "{:.1} dB after {:.1}", found.loss.decibel(&floor(15.0)), found.plain.decibel(&floor(15.0)));
    let dealt_with = found.methods.contains_key("a") || found.left.iter().any(|&value| graph.value(value).name == "a");
    assert!(dealt_with, "{:?} {:?}", found.methods, found.notes);
    assert!(found.left.iter().all(|&value| graph.value(value).name == "a"), "others were left in FP16");
}

#[test]
fn a_floor_that_is_met_leaves_nothing_in_half_precision() {
    let Some((_, found)) = search(1.0, 3.0, true, 1) else { return };
    assert!(found.reached && found.left.is_empty());
    let (fitted, plain) = (found.loss.share(&floor(3.0)), found.plain.share(&floor(3.0)));
    assert!(fitted < plain, "fitting thresholds and weights lost {fitted}, without it {plain}");
}

#[test]
fn what_is_only_wanted_stays_within_what_it_may_cost() {
    let within = |expendable| {
        let wanted = Some(Wanted { channel_db: 500.0, expendable });
        let (graph, found) = search_for(2000.0, 3.0, wanted, true, 2)?;
        let work = Work::of(&graph);
        Some((work.share_of(found.plan.placement.weights.keys().copied()), found))
    };
    let Some((all, nothing_to_spend)) = within(0.0) else { return };
    assert!(all == 1.0 && nothing_to_spend.left.is_empty());
    let (most, found) = within(0.6).unwrap();
    assert!((0.4..1.0).contains(&most) && !found.left.is_empty(), "{most} stays in INT8");
    assert!(found.reached, "what is wanted is no floor");
}

/// Memory with figures made up: what takes too much for what is only wanted stays in INT8, and others do not; a floor is reached at any price.
#[test]
fn what_is_only_wanted_must_fit() {
    let quantized = |graph: &Graph, plan: &Plan, name: &str| {
        plan.placement.tensors.keys().any(|&value| graph.value(value).name == name)
    };
    let within = |bytes: &Bytes<'_>, floor_db: f64| {
        let wanted = Some(Wanted { channel_db: 500.0, expendable: 1.0 });
        search_within(2000.0, floor_db, wanted, true, 2, Some(bytes))
    };
    let Some((graph, found)) = within(&|_, plan| 1000 + 20 * (4 - plan.placement.weights.len() as u64), 3.0) else {
        return;
    };
    assert!(found.left.is_empty(), "{:?}", found.left);
    assert!(quantized(&graph, &found.plan, "a"));
    let (graph, found) = within(&|graph, plan| if quantized(graph, plan, "r") { 1000 } else { 1011 }, 3.0).unwrap();
    assert!(quantized(&graph, &found.plan, "r") && !found.left.is_empty());
    assert!(found.left.iter().all(|&value| graph.value(value).name != "r"), "the rest of its batch went without it");
    let (_, found) = within(&|_, plan| 1000 + 20 * (4 - plan.placement.weights.len() as u64), 500.0).unwrap();
    assert!(found.plan.placement.is_empty(), "a floor out of reach leaves everything, whatever it takes");
}

#[test]
fn a_floor_out_of_reach_leaves_everything_and_says_so() {
    let Some((_, found)) = search(1.0, 500.0, true, 2) else { return };
    assert!(found.plan.placement.is_empty() && !found.left.is_empty());
    assert!(found.reached, "a network in 32 bits loses nothing");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let Some((_, one)) = search(2000.0, 25.0, true, 1) else { return };
    let (_, two) = search(2000.0, 25.0, true, 2).unwrap();
    assert_eq!((one.left, one.methods, one.notes), (two.left, two.methods, two.notes));
    assert_eq!(one.plan.scales, two.plan.scales);
    assert_eq!(one.plan.equalizations, two.plan.equalizations);
    assert_eq!(one.plan.corrections, two.plan.corrections);
    assert_eq!(one.loss.share(&floor(25.0)).to_bits(), two.loss.share(&floor(25.0)).to_bits());
}
