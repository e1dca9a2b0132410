//! Bias correction: the mean of every output channel is that of the 32-bit network again.

use crate::networks::{Placed, network, output, weights};
use crate::small_model::{runtime, typed};
use trtforge_builder::CancelFlag;
use trtforge_builder::int8::{Plan, TrialGround, corrections, survey};
use trtforge_builder::passes::WeightForm;
use trtforge_builder::samples::{SampleInput, SampleSource, Samples};
use trtforge_graph::{ElementType, Graph, Model, Tensor};
use trtforge_onnxruntime::{OnnxRuntime, Optimization, SessionConfig};

/// Samples for the input of [`network`].
pub fn samples(count: usize) -> Samples {
    let input = SampleInput { name: "x".into(), element: ElementType::Float32, shape: vec![1, 16, 8, 8] };
    Samples::open(&SampleSource::Synthetic, Some(count), None, vec![input]).unwrap()
}

/// Mean of each channel of `y` over all samples.
fn means(runtime: &OnnxRuntime, model: &Model, samples: &Samples) -> Vec<f64> {
    let config = SessionConfig { optimization: Optimization::Disabled, ..SessionConfig::default() };
    let mut session = runtime.session(model, &config).unwrap();
    let mut sums = vec![0f64; 16];
    for index in 0..samples.len() {
        let inputs = samples.get(index).unwrap().inputs;
        let borrowed: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let (_, y) = session.run(&borrowed, None).unwrap().remove(0);
        for (index, &value) in y.as_slice::<f32>().unwrap().iter().enumerate() {
            sums[index / 64] += f64::from(value);
        }
    }
    sums.into_iter().map(|sum| sum / (64 * samples.len()) as f64).collect()
}

fn written(graph: &Graph, plan: &Plan) -> Model {
    let mut graph = graph.clone();
    plan.apply(&mut graph, WeightForm::Integers).unwrap();
    graph.into_model().unwrap()
}

#[test]
fn each_output_channel_has_its_mean_again() {
    let Some(runtime) = runtime() else { return };
    let model = network().op("Relu", &["x"], "a").constant("w", &[16, 16, 1, 1], weights("w", &[16, 16, 1, 1]));
    let model = output(model.op("Conv", &["a", "w"], "y"), "y").build();
    let placed = Placed::new(typed(&runtime, &model));
    let (samples, cancel) = (samples(6), CancelFlag::default());
    let ground = TrialGround::new(&runtime, &placed.graph, &samples, 6, 6, 1, &cancel).unwrap();
    // Clips at 0.6: what is cut off is all on one side, so every mean is off.
    let plain = placed.plan(0.6 / 127.0);
    let seen = survey(&ground, &[&plain], &[0, 1, 2, 3, 4, 5]).unwrap().remove(0);
    let corrected = Plan { corrections: corrections(&placed.graph, &plain, &seen), ..plain.clone() };
    let expected = means(&runtime, &model, &samples);
    let error = |plan: &Plan| {
        let found = means(&runtime, &written(&placed.graph, plan), &samples);
        found.iter().zip(&expected).fold(0f64, |error, (a, b)| error.max((a - b).abs()))
    };
    let (before, after) = (error(&plain), error(&corrected));
    assert!(before > 0.05 && after < 1e-4, "{before} became {after}");
}
