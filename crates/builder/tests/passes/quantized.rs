//! Small quantized networks, and how far two models are from each other.

use crate::small_model::{SmallModel, numbers};
use std::collections::HashMap;
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{Tensor, construct};

/// Adds `QuantizeLinear` and `DequantizeLinear` around a value: `from` becomes `to`, in int8 where the zero-point is signed.
pub fn pair(model: SmallModel, from: &str, to: &str, scale: f32, zero_point: ZeroPoint) -> SmallModel {
    let (scale_name, zero_name, middle) = (format!("{to}.scale"), format!("{to}.zero"), format!("{to}.q"));
    let inputs = [from, scale_name.as_str(), zero_name.as_str()];
    let model = model.node(construct::node("QuantizeLinear", &format!("{to}.quantize"), inputs, [middle.as_str()]));
    let inputs = [middle.as_str(), scale_name.as_str(), zero_name.as_str()];
    let model = model.node(construct::node("DequantizeLinear", &format!("{to}.dequantize"), inputs, [to]));
    model.tensor(construct::scalar(&scale_name, scale)).tensor(zero_point.tensor(&zero_name))
}

/// A zero-point and its type.
#[derive(Clone, Copy)]
pub enum ZeroPoint {
    Signed(i8),
    Unsigned(u8),
}

impl ZeroPoint {
    pub fn tensor(self, name: &str) -> trtforge_graph::proto::TensorProto {
        match self {
            ZeroPoint::Signed(value) => construct::scalar(name, value),
            ZeroPoint::Unsigned(value) => construct::scalar(name, value),
        }
    }
}

/// Symmetric int8 weights with a scale per channel along `axis`, dequantized to `name`.
pub fn int8_weights(model: SmallModel, name: &str, shape: &[u64], axis: usize) -> SmallModel {
    let count = shape.iter().product::<u64>();
    let values = (0..count).map(|index| ((index * 37 + 11) % 255) as i8).collect::<Vec<i8>>();
    let scales = (0..shape[axis]).map(|channel| 0.001 + channel as f32 * 0.0005).collect::<Vec<f32>>();
    let stored = format!("{name}.int8");
    let inputs = [stored.clone(), format!("{name}.scale"), format!("{name}.zero")];
    model
        .tensor(construct::tensor(&stored, shape.iter().copied(), values))
        .tensor(construct::tensor(&inputs[1], [shape[axis]], scales))
        .tensor(construct::tensor(&inputs[2], [shape[axis]], vec![0i8; shape[axis] as usize]))
        .node(dequantize(name, &inputs).attr_int("axis", axis as i64))
}

/// A `DequantizeLinear` that makes `name`.
pub fn dequantize(name: &str, inputs: &[String; 3]) -> NodeProto {
    construct::node("DequantizeLinear", &format!("{name}.dequantize"), inputs.clone(), [name])
}

/// Small numbers around zero.
pub fn weights(shape: &[u64]) -> Vec<f32> {
    numbers(shape).to_vec_f32().unwrap().into_iter().map(|value| value / 40.0).collect()
}

/// Signal-to-noise ratio in decibel of every output of `actual`, the worst of them.
pub fn worst_sqnr(expected: &HashMap<String, Tensor>, actual: &HashMap<String, Tensor>) -> f64 {
    let of = |name: &String| {
        let (expected, actual) = (expected[name].to_vec_f32().unwrap(), actual[name].to_vec_f32().unwrap());
        assert_eq!(expected.len(), actual.len());
        let mut sums = trtforge_builder::ErrorSums::default();
        sums.add(&expected, &actual);
        sums.finish(name).sqnr_db.unwrap_or(f64::INFINITY)
    };
    expected.keys().map(of).fold(f64::INFINITY, f64::min)
}
