//! Repairs of known-bad graphs, and plugin nodes set aside and put back.

use crate::small_model::{SmallModel, count, numbers, run, runtime, typed};
use trtforge_builder::passes::{PluginNodes, RemoveIdentities, RepairEfficientNms, run_pass};
use trtforge_builder::{CancelFlag, Precision, PrepareOptions, prepare};
use trtforge_graph::{ElementType, Graph, Model, ValueType, construct};

/// The tail of DAMO-YOLO's end-to-end export: corner boxes, and a plugin told that they are centres and sizes.
fn end_to_end(corners: bool, coding: i64) -> Model {
    let boxes = if corners { ("Sub", "Add") } else { ("Div", "Sub") };
    SmallModel::new(17)
        .input("points", &[1, 8, 2])
        .input("distances", &[1, 8, 2])
        .input("scores", &[1, 8, 4])
        .op(boxes.0, &["points", "distances"], "low")
        .op(boxes.1, &["points", "distances"], "high")
        .node(construct::node("Concat", "boxes", ["low", "high"], ["boxes"]).attr_int("axis", -1))
        .node(
            construct::node(
                "EfficientNMS_TRT",
                "nms",
                ["boxes", "scores"],
                ["num_dets", "det_boxes", "det_scores", "det_classes"],
            )
            .in_domain("TRT")
            .attr_ints("box_coding", vec![coding])
            .attr_ints("background_class", vec![-1])
            .attr_int("max_output_boxes", 100),
        )
        .output("num_dets", ElementType::Int32, &[1, 1])
        .output("det_boxes", ElementType::Float32, &[1, 100, 4])
        .output("det_scores", ElementType::Float32, &[1, 100])
        .output("det_classes", ElementType::Int32, &[1, 100])
        .build()
}

fn repaired(model: Model) -> Vec<(String, Option<i64>)> {
    let mut graph = Graph::new(model).unwrap();
    run_pass(&RepairEfficientNms, &mut graph, &()).unwrap();
    let model = graph.into_model().unwrap();
    let nms = model.proto().graph.node.iter().find(|node| node.op_type() == "EfficientNMS_TRT").unwrap().clone();
    nms.attribute.iter().map(|attribute| (attribute.name().to_owned(), attribute.i)).collect()
}

#[test]
fn corner_boxes_are_declared_as_corners() {
    let attributes = repaired(end_to_end(true, 1));
    assert!(attributes.contains(&("box_coding".into(), Some(0))), "{attributes:?}");
    assert!(attributes.contains(&("background_class".into(), Some(-1))), "{attributes:?}");
}

#[test]
fn centre_boxes_stay_centre_boxes() {
    let attributes = repaired(end_to_end(false, 1));
    assert!(attributes.contains(&("box_coding".into(), Some(1))), "{attributes:?}");
}

#[test]
fn plugins_are_set_aside_and_put_back() {
    let Some(runtime) = runtime() else { return };
    let model = end_to_end(true, 0);
    let (plain, plugins) = PluginNodes::set_aside(&model).unwrap();
    let plain = plain.unwrap();
    assert_eq!(count(&plain, "EfficientNMS_TRT"), 0);
    let outputs: Vec<&str> = plain.proto().graph.output.iter().map(|output| output.name()).collect();
    assert_eq!(outputs, ["boxes"]);
    let simplified = runtime.optimize(&plain).unwrap();
    let whole = plugins.put_back(simplified);
    assert_eq!(count(&whole, "EfficientNMS_TRT"), 1);
    assert_eq!(whole.proto().graph.output, model.proto().graph.output);
    trtforge_graph::ensure_valid(&whole).unwrap();
}

#[test]
fn a_model_without_plugins_is_left_alone() {
    let model =
        SmallModel::new(17).input("x", &[4]).op("Relu", &["x"], "y").output("y", ElementType::Float32, &[4]).build();
    let (plain, plugins) = PluginNodes::set_aside(&model).unwrap();
    assert!(plain.is_none());
    assert_eq!(plugins.put_back(model.clone()).proto(), model.proto());
}

#[test]
fn identities_go_unless_they_are_outputs() {
    let Some(runtime) = runtime() else { return };
    let model = SmallModel::new(17)
        .input("x", &[4])
        .op("Identity", &["x"], "a")
        .op("Identity", &["a"], "b")
        .op("Relu", &["b"], "c")
        .op("Identity", &["c"], "y")
        .output("y", ElementType::Float32, &[4])
        .build();
    let mut graph = typed(&runtime, &model);
    run_pass(&RemoveIdentities, &mut graph, &()).unwrap();
    let clean = graph.into_model().unwrap();
    assert_eq!(count(&clean, "Identity"), 1);
    let x = numbers(&[4]);
    assert_eq!(run(&runtime, &model, &[("x", &x)])["y"].data, run(&runtime, &clean, &[("x", &x)])["y"].data);
}

#[test]
fn a_plugin_reads_floats_in_a_half_precision_model() {
    if runtime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("end2end.onnx");
    end_to_end(true, 1).write(&path).unwrap();
    let prepared = prepare(&PrepareOptions::new(path, Precision::Fp16), &(), &CancelFlag::default()).unwrap();
    assert!(prepared.table.counts().fp16 >= 3, "{:?}", prepared.table.rows());
    let graph = Graph::new(prepared.model).unwrap();
    let nms = graph.node_ids().find(|&node| graph.op_type(node) == "EfficientNMS_TRT").unwrap();
    for &input in graph.inputs(nms).iter().flatten() {
        assert_eq!(graph.value(input).ty.as_ref().and_then(ValueType::element), Some(ElementType::Float32));
    }
    assert_eq!(graph.attribute_int(nms, "box_coding"), Some(0));
}
