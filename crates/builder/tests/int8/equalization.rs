//! Equalised tensors: what is divided and shifted in front of a convolution comes back in its weights and its bias.

use crate::networks::{Placed, network};
use crate::small_model::{SmallModel, count, run, runtime, typed};
use std::collections::HashMap;
use trtforge_builder::int8::{ChannelStatistics, Equalization, Plan, Survey, can_shift, corrections};
use trtforge_builder::passes::WeightForm;
use trtforge_graph::{ElementType, Model, Tensor, construct};

const PIXELS: usize = 64;

/// Channel `c` holds whole multiples of `2^(c % 4)` from 0 to 200 times it: divided by that power and lowered by 100 they are integers of 8 bits.
fn steps() -> Tensor {
    let value = |index: usize| ((index * 37 + 11) % 201) as f32 * power(index / PIXELS);
    Tensor::from_vec(vec![1, 16, 8, 8], (0..16 * PIXELS).map(value).collect()).unwrap()
}

fn power(channel: usize) -> f32 {
    [1.0, 2.0, 4.0, 8.0][channel % 4]
}

/// Weights that are small integers once each input channel is multiplied by its power of two; every output channel has one of 127, so that its scale is 1.
fn weight(inputs: usize, outputs: usize, kernel: usize) -> Vec<f32> {
    let integer =
        |index: usize| if index.is_multiple_of(inputs * kernel) { 127.0 } else { ((index * 29) % 200) as f32 - 99.0 };
    (0..outputs * inputs * kernel)
        .map(|index| integer(index) / power(if inputs == 1 { index / kernel } else { index / kernel % inputs }))
        .collect()
}

/// An activation function and a convolution that reads it, depthwise or not.
fn model(kernel: u64, groups: u64, pads: i64) -> Model {
    let inputs = 16 / groups;
    let side = 8 - kernel + 1 + 2 * pads as u64;
    let weights = weight(inputs as usize, 16, (kernel * kernel) as usize);
    let node = construct::node("Conv", "conv", ["a", "w"], ["y"]).attr_int("group", groups as i64);
    let model: SmallModel = network().op("Relu", &["x"], "a").constant("w", &[16, inputs, kernel, kernel], weights);
    model.node(node.attr_ints("pads", [pads; 4])).output("y", ElementType::Float32, &[1, 16, side, side]).build()
}

fn plan(placed: &Placed, offset: f32, scale: f32) -> Plan {
    let mut plan = placed.plan(scale);
    let factors: Vec<f32> = (0..16).map(power).collect();
    let offsets = factors.iter().map(|factor| factor * offset).collect();
    plan.equalizations.insert(placed.graph.value_id("a").unwrap(), Equalization { factors, offsets });
    plan
}

/// What a survey of [`steps`] finds where quantization loses nothing.
fn survey(placed: &Placed, offset: f32) -> Survey {
    let steps = steps();
    let channel = |(index, values): (usize, &[f32])| {
        let mean = values.iter().sum::<f32>() as f64 / PIXELS as f64;
        let quantized_mean = mean / f64::from(power(index)) - f64::from(offset);
        ChannelStatistics { mean, quantized_mean, ..ChannelStatistics::default() }
    };
    let channels = steps.as_slice::<f32>().unwrap().chunks(PIXELS).enumerate().map(channel).collect();
    HashMap::from([(placed.graph.value_id("a").unwrap(), channels)])
}

fn check(model: &Model, offset: f32, nodes: (usize, usize)) {
    let Some(runtime) = runtime() else { return };
    let placed = Placed::new(typed(&runtime, model));
    // Without an offset the multiples go to 200, so a step is two of them and half of all lie between steps.
    let mut plan = plan(&placed, offset, if offset == 0.0 { 2.0 } else { 1.0 });
    if offset != 0.0 {
        plan.corrections = corrections(&placed.graph, &plan, &survey(&placed, offset));
    }
    let expected = run(&runtime, model, &[("x", &steps())])["y"].to_vec_f32().unwrap();
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    for form in [WeightForm::Integers, WeightForm::Dequantized] {
        let mut graph = placed.graph.clone();
        plan.apply(&mut graph, form).unwrap();
        let written = graph.into_model().unwrap();
        assert_eq!((count(&written, "Mul"), count(&written, "Add")), nodes);
        let actual = run(&runtime, &written, &[("x", &steps())])["y"].to_vec_f32().unwrap();
        let error = expected.iter().zip(&actual).fold(0f32, |error, (a, b)| error.max((a - b).abs()));
        let allowed = if offset == 0.0 { 0.02 } else { 1e-5 };
        assert!(error <= allowed * largest, "off by {error} of {largest}");
    }
}

#[test]
fn factors_and_offsets_cancel() {
    check(&model(1, 1, 0), 100.0, (1, 1));
    check(&model(3, 1, 0), 100.0, (1, 1));
    check(&model(3, 16, 0), 100.0, (1, 1));
}

#[test]
fn factors_cancel_where_the_input_is_padded() {
    check(&model(3, 1, 1), 0.0, (1, 0));
    check(&model(3, 16, 1), 0.0, (1, 0));
}

#[test]
fn weights_that_stay_in_floating_point_are_scaled_as_well() {
    let Some(runtime) = runtime() else { return };
    let model = model(3, 16, 0);
    let placed = Placed::new(typed(&runtime, &model));
    let mut plan = plan(&placed, 100.0, 1.0).only(&[placed.graph.value_id("a").unwrap()]);
    plan.corrections = corrections(&placed.graph, &plan, &survey(&placed, 100.0));
    let mut graph = placed.graph.clone();
    plan.apply(&mut graph, WeightForm::Integers).unwrap();
    let written = graph.into_model().unwrap();
    assert_eq!(count(&written, "DequantizeLinear"), 1);
    let of = |model: &Model| run(&runtime, model, &[("x", &steps())])["y"].to_vec_f32().unwrap();
    for (a, b) in of(&model).iter().zip(of(&written)) {
        assert!((a - b).abs() <= 1e-4 * a.abs().max(100.0), "{a} {b}");
    }
}

#[test]
fn only_tensors_that_no_reader_pads_are_shifted() {
    let Some(runtime) = runtime() else { return };
    for (pads, expected) in [(0, true), (1, false)] {
        let placed = Placed::new(typed(&runtime, &model(3, 1, pads)));
        let tensor = &placed.placement.tensors[&placed.graph.value_id("a").unwrap()];
        assert_eq!(can_shift(&placed.graph, tensor), expected);
    }
}
