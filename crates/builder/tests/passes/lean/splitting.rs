use super::{checked, difference, image};
use crate::small_model::{SmallModel, count, numbers, runtime, typed};
use trtforge_builder::passes::lean::SplitConcatenatedConvolution;
use trtforge_builder::passes::run_pass;
use trtforge_graph::proto::NodeProto;
use trtforge_graph::{ElementType, Model, construct};
use trtforge_onnxruntime::OnnxRuntime;

enum Scale {
    Factors,
    Sizes,
}

/// Two convolutions over `Concat(a, Resize(b), c)`, as a feature pyramid has them.
fn pyramid(mode: &str, scale: &Scale) -> SmallModel {
    let resize: NodeProto = match scale {
        Scale::Factors => construct::node("Resize", "up", ["low", "", "factors"], ["up"]),
        Scale::Sizes => construct::node("Resize", "up", ["low", "", "", "sizes"], ["up"]),
    };
    SmallModel::new(17)
        .input("high", &[1, 3, 8, 6])
        .input("low", &[1, 5, 4, 3])
        .tensor(construct::tensor("factors", [4], vec![1f32, 1.0, 2.0, 2.0]))
        .tensor(construct::tensor("sizes", [4], vec![1i64, 5, 8, 6]))
        .constant("w1", &[4, 11, 1, 1], numbers(&[44]).to_vec_f32().unwrap())
        .constant("w2", &[2, 11, 1, 1], numbers(&[22]).to_vec_f32().unwrap())
        .constant("b1", &[4], vec![1.0, -2.0, 3.0, 0.5])
        .op("Neg", &["high"], "c")
        .node(resize.attr_string("mode", mode).attr_string("coordinate_transformation_mode", "asymmetric"))
        .node(construct::node("Concat", "join", ["high", "up", "c"], ["t"]).attr_int("axis", 1))
        .op("Conv", &["t", "w1", "b1"], "p")
        .op("Conv", &["t", "w2"], "q")
        .output("p", ElementType::Float32, &[1, 4, 8, 6])
        .output("q", ElementType::Float32, &[1, 2, 8, 6])
}

fn split(runtime: &OnnxRuntime, model: &Model) -> (Model, usize) {
    let mut graph = typed(runtime, model);
    let applied = run_pass(&SplitConcatenatedConvolution, &mut graph, &()).unwrap();
    (checked(runtime, &graph), applied)
}

#[test]
fn the_enlarged_part_is_convolved_small() {
    let Some(runtime) = runtime() else { return };
    for scale in [Scale::Factors, Scale::Sizes] {
        let model = pyramid("nearest", &scale).build();
        let (after, applied) = split(&runtime, &model);
        assert_eq!(applied, 1);
        assert_eq!((count(&after, "Conv"), count(&after, "Resize"), count(&after, "Concat")), (4, 2, 1));
        let inputs = [("high", &image(3, 8, 6)), ("low", &image(5, 4, 3))];
        assert!(difference(&runtime, &model, &after, &inputs) < 1e-5);
    }
}

#[test]
fn interpolation_and_other_readers_stop_it() {
    let Some(runtime) = runtime() else { return };
    let interpolated = pyramid("linear", &Scale::Factors).build();
    let read_elsewhere = pyramid("nearest", &Scale::Factors)
        .op("Relu", &["t"], "r")
        .output("r", ElementType::Float32, &[1, 11, 8, 6])
        .build();
    for model in [interpolated, read_elsewhere] {
        assert_eq!(split(&runtime, &model).1, 0);
    }
}
