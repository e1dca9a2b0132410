//! Convolves the enlarged part of a concatenation before it is enlarged.
//!
//! Pattern: `Conv1x1(Concat(a, .., Resize(b), ..))` over channels, where every reader of the Concat is such a convolution and Resize takes the nearest pixel.
//! Result: `Conv1x1(Concat(a, ..)) + Resize(Conv1x1(b))`; the bias is added once, by the first one. Readers share the smaller Concat.
//! Why: the whole concatenation never exists, and the part convolved at the lower resolution takes a fraction of the multiplications.
//! Precondition: types are known; the graph is in 32 bits and not quantized. Numerical effect: sums are taken in another order, by two partial sums.
//! A 1x1 convolution and a choice of pixels commute exactly.

use super::pointwise_convolution::{PointwiseConvolution, pointwise_node};
use super::{image_shape, resized};
use crate::Result;
use crate::passes::Pass;
use trtforge_graph::construct::{node, tensor};
use trtforge_graph::{Graph, NodeId, Patch, Slot, ValueId};

/// The pass.
pub struct SplitConcatenatedConvolution;

impl Pass for SplitConcatenatedConvolution {
    fn name(&self) -> &'static str {
        "split-concatenated-convolution"
    }

    fn patches(&self, graph: &mut Graph) -> Result<Vec<Patch>> {
        let found: Vec<Concatenation> = graph.node_ids().filter_map(|node| Concatenation::read(graph, node)).collect();
        Ok(found.iter().filter_map(|concatenation| concatenation.split(graph)).collect())
    }
}

/// One input of a Concat: where its channels begin and how many they are.
struct Part {
    value: ValueId,
    first: usize,
    channels: usize,
    /// The Resize that makes it, where it is one that can wait.
    resize: Option<NodeId>,
}

struct Concatenation {
    node: NodeId,
    parts: Vec<Part>,
    readers: Vec<PointwiseConvolution>,
}

impl Concatenation {
    fn read(graph: &Graph, node: NodeId) -> Option<Self> {
        if graph.op_type(node) != "Concat" || !graph.domain(node).is_empty() {
            return None;
        }
        let output = graph.output(node, 0)?;
        if !matches!(graph.attribute_int(node, "axis"), Some(1 | -3)) || graph.value(output).is_output {
            return None;
        }
        image_shape(graph, output)?;
        let users = &graph.value(output).consumers;
        let reader = |user: &trtforge_graph::Use| match user.slot {
            Slot::Input(0) => PointwiseConvolution::read(graph, user.node),
            _ => None,
        };
        let readers = users.iter().map(reader).collect::<Option<Vec<_>>>()?;
        let parts = parts(graph, node)?;
        let resized = parts.iter().filter(|part| part.resize.is_some()).count();
        let splits = resized > 0 && resized < parts.len() && !readers.is_empty();
        splits.then_some(Self { node, parts, readers })
    }

    fn split(&self, graph: &mut Graph) -> Option<Patch> {
        let mut patch = Patch::new(format!("split the convolutions behind `{}`", graph.node_name(self.node)));
        let rest = self.rest(graph, &mut patch)?;
        for reader in &self.readers {
            self.split_reader(graph, &mut patch, reader, &rest)?;
            patch.remove_node(reader.node);
        }
        patch.remove_node(self.node);
        Some(patch)
    }

    fn plain(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.resize.is_none())
    }

    /// The name of the concatenation of everything that is not enlarged.
    fn rest(&self, graph: &mut Graph, patch: &mut Patch) -> Option<String> {
        let names: Vec<String> = self.plain().map(|part| graph.value(part.value).name.clone()).collect();
        if let [only] = names.as_slice() {
            return Some(only.clone());
        }
        let channels = self.plain().map(|part| part.channels as u64).sum();
        let output = graph.output(self.node, 0)?;
        let ty = resized(graph, output, 1, channels)?;
        let name = graph.unique_name(&format!("{}__rest", graph.value(output).name));
        patch.add_node(node("Concat", &name, names, [&name]).attr_int("axis", 1), vec![Some(ty)]);
        Some(name)
    }

    fn split_reader(
        &self,
        graph: &mut Graph,
        patch: &mut Patch,
        reader: &PointwiseConvolution,
        rest: &str,
    ) -> Option<()> {
        let result = graph.value(reader.output).name.clone();
        let ty = graph.value(reader.output).ty.clone();
        let mut terms = vec![add_plain(graph, patch, reader, &self.plain().collect::<Vec<_>>(), rest)];
        for part in &self.parts {
            if let Some(resize) = part.resize {
                terms.push(add_enlarged(graph, patch, reader, part, resize)?);
            }
        }
        let last = terms.len() - 1;
        let mut sum = terms[0].clone();
        for (index, term) in terms.iter().enumerate().skip(1) {
            let name = if index == last { result.clone() } else { graph.unique_name(&format!("{result}__sum")) };
            patch.add_node(node("Add", &format!("{name}__add"), [&sum, term], [&name]), vec![ty.clone()]);
            sum = name;
        }
        Some(())
    }
}

/// The convolution over what is not enlarged, with the bias; returns its output.
fn add_plain(
    graph: &mut Graph,
    patch: &mut Patch,
    reader: &PointwiseConvolution,
    plain: &[&Part],
    input: &str,
) -> String {
    let columns: Vec<Vec<f32>> = plain.iter().map(|part| reader.columns(part.first, part.channels)).collect();
    let row = |index: usize| {
        let parts = columns.iter().zip(plain);
        parts.flat_map(move |(columns, part)| columns[index * part.channels..(index + 1) * part.channels].to_vec())
    };
    let weight: Vec<f32> = (0..reader.outputs).flat_map(row).collect();
    let channels: u64 = plain.iter().map(|part| part.channels as u64).sum();
    let result = graph.value(reader.output).name.clone();
    let name = graph.unique_name(&format!("{result}__plain"));
    let weight_name = graph.unique_name(&format!("{result}__plain_weight"));
    patch.add_initializer(tensor(&weight_name, [reader.outputs as u64, channels, 1, 1], weight));
    let bias = graph.input(reader.node, 2).map(|bias| graph.value(bias).name.clone());
    let ty = graph.value(reader.output).ty.clone();
    patch.add_node(pointwise_node(&name, input, &weight_name, bias.as_deref(), &name), vec![ty]);
    name
}

/// The convolution over the small form of a part, enlarged afterwards; returns the enlarged value.
fn add_enlarged(
    graph: &mut Graph,
    patch: &mut Patch,
    reader: &PointwiseConvolution,
    part: &Part,
    resize: NodeId,
) -> Option<String> {
    let source = graph.input(resize, 0)?;
    let (outputs, result) = (reader.outputs as u64, graph.value(reader.output).name.clone());
    let small = graph.unique_name(&format!("{result}__small"));
    let weight = graph.unique_name(&format!("{result}__small_weight"));
    patch.add_initializer(tensor(
        &weight,
        [outputs, part.channels as u64, 1, 1],
        reader.columns(part.first, part.channels),
    ));
    let small_type = resized(graph, source, 1, outputs)?;
    let source = graph.value(source).name.clone();
    patch.add_node(pointwise_node(&small, &source, &weight, None, &small), vec![Some(small_type)]);
    let enlarged = graph.unique_name(&format!("{result}__enlarged"));
    let mut copy = graph.node(resize).clone();
    copy.name = Some(enlarged.clone());
    copy.input[0] = small;
    copy.output = vec![enlarged.clone()];
    if graph.input(resize, 3).is_some() {
        let mut sizes = image_shape(graph, reader.output)?.map(|size| size as i64).to_vec();
        sizes[1] = outputs as i64;
        let name = graph.unique_name(&format!("{result}__sizes"));
        patch.add_initializer(tensor(&name, [4], sizes));
        copy.input[3] = name;
    }
    patch.add_node(copy, vec![graph.value(reader.output).ty.clone()]);
    Some(enlarged)
}

fn parts(graph: &Graph, node: NodeId) -> Option<Vec<Part>> {
    let mut first = 0;
    let mut parts = Vec::new();
    for &value in graph.inputs(node) {
        let value = value?;
        let channels = image_shape(graph, value)?[1] as usize;
        parts.push(Part { value, first, channels, resize: enlarging(graph, value) });
        first += channels;
    }
    Some(parts)
}

/// The Resize that makes `value` out of fewer pixels, taking the nearest one and leaving channels alone.
fn enlarging(graph: &Graph, value: ValueId) -> Option<NodeId> {
    let resize = graph.producer(value)?;
    let nearest = graph.attribute_string(resize, "mode").unwrap_or("nearest") == "nearest";
    if graph.op_type(resize) != "Resize" || !nearest || graph.attribute(resize, "axes").is_some() {
        return None;
    }
    let (small, large) = (image_shape(graph, graph.input(resize, 0)?)?, image_shape(graph, value)?);
    let only_pixels = small[..2] == large[..2] && small[2] <= large[2] && small[3] <= large[3];
    let settled = graph.opset("").is_some_and(|opset| opset >= 11) && scale_is_constant(graph, resize);
    (only_pixels && settled && small[2] * small[3] < large[2] * large[3]).then_some(resize)
}

/// Scales are constant, or sizes are: then they are written anew.
fn scale_is_constant(graph: &Graph, resize: NodeId) -> bool {
    let fixed = |slot: usize| graph.input(resize, slot).is_none_or(|value| graph.constant(value).is_some());
    let crops = graph.attribute_string(resize, "coordinate_transformation_mode") == Some("tf_crop_and_resize");
    fixed(2) && fixed(3) && !crops
}
