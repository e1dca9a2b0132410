//! Whole detectors, at small input sizes.

use super::{checked, difference};
use crate::small_model::{numbers, runtime, typed};
use trtforge_builder::passes::lean::{
    BandRows, MergeSiblingConvolutions, Reach, Segment, SplitConcatenatedConvolution,
};
use trtforge_builder::passes::run_pass;
use trtforge_graph::{Graph, Model, Tensor};
use trtforge_onnxruntime::OnnxRuntime;
use trtforge_zoo::{Options, Variant, generate};

/// The last value that everything passes through, of those with a quarter of the input's rows.
fn stem_end(graph: &Graph, height: u64) -> Segment {
    let segments = graph.node_ids().filter_map(|node| Segment::behind(graph, graph.output(node, 0)?, Reach::Whole));
    segments.filter(|segment| segment.begins_at_inputs(graph) && segment.height() == height).last().unwrap()
}

fn rewritten(runtime: &OnnxRuntime, model: &Model, height: u64) -> (Graph, [usize; 2]) {
    let mut graph = typed(runtime, &runtime.optimize(model).unwrap());
    let merged = run_pass(&MergeSiblingConvolutions, &mut graph, &()).unwrap();
    let split = run_pass(&SplitConcatenatedConvolution, &mut graph, &()).unwrap();
    let segment = stem_end(&graph, height);
    assert!(BandRows { segment: &segment, bands: 3 }.apply(&mut graph).unwrap());
    (graph, [merged, split])
}

#[test]
fn detectors_of_the_zoo_compute_the_same() {
    let Some(runtime) = runtime() else { return };
    for variant in [Variant::S, Variant::Ns] {
        let model = generate(&Options { size: Some(96), ..Options::new(variant) }).unwrap();
        let (graph, [merged, split]) = rewritten(&runtime, &model, 24);
        assert!(merged >= 4 && split >= 2, "{variant}: {merged} merged, {split} split");
        let after = checked(&runtime, &graph);
        let noise = numbers(&[1, 3, 96, 96]).to_vec_f32().unwrap();
        let images: Vec<f32> = noise.into_iter().map(|x| (x + 3.0) * 40.0).collect();
        let images = Tensor::from_vec(vec![1, 3, 96, 96], images).unwrap();
        let apart = difference(&runtime, &model, &after, &[("images", &images)]);
        assert!(apart < 1e-4, "{variant}: {apart}");
    }
}
